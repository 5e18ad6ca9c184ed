// What differs between compilers: NVRTC, clang's NVPTX target without NVIDIA's headers, and the host compiler of the tests, whose file of the same
// functions ARMOR_HOST names. The sources are joined in one order, so nothing else is included: no header of NVIDIA's is needed.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/// Sixteen bytes: what a thread loads at once.
struct alignas(16) Word4 { u32 x, y, z, w; };

/// Two sums, or two inputs.
struct alignas(8) Float2 { float x, y; };

/// The stored types of sixteen bits.
struct BFloat16 {};
struct Float16 {};

#if defined(ARMOR_HOST)

#include ARMOR_HOST

#else

#if defined(__CUDACC_RTC__) || defined(__CUDACC__)
#define ARMOR_TID threadIdx.x
#define ARMOR_BLOCK_X blockIdx.x
#define ARMOR_BLOCK_Y blockIdx.y
#define ARMOR_BLOCK_Z blockIdx.z
#define ARMOR_GRID_X gridDim.x
#else
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define ARMOR_TID __nvvm_read_ptx_sreg_tid_x()
#define ARMOR_BLOCK_X __nvvm_read_ptx_sreg_ctaid_x()
#define ARMOR_BLOCK_Y __nvvm_read_ptx_sreg_ctaid_y()
#define ARMOR_BLOCK_Z __nvvm_read_ptx_sreg_ctaid_z()
#define ARMOR_GRID_X __nvvm_read_ptx_sreg_nctaid_x()
#endif

#define ARMOR_DEVICE __device__ __forceinline__
#if !defined(__forceinline__)
#define __forceinline__ __inline__ __attribute__((always_inline))
#endif

/// Weights: read once, so kept out of the first-level cache. What is asked for before wait_for_previous_grid is asked for before it, for which this is
/// volatile, and no .nc: those loads ptxas moves behind the wait.
ARMOR_DEVICE Word4 load_stream(const Word4* from)
{
    Word4 v;
    asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

/// Asks for 128 bytes that the second-level cache is to have soon.
ARMOR_DEVICE void prefetch(const Word4* from) { asm volatile("prefetch.global.L2 [%0];" :: "l"(from)); }

/// What an earlier kernel wrote and many warps read: volatile, so that it stays behind wait_for_previous_grid.
ARMOR_DEVICE Word4 load_input(const Word4* from)
{
    Word4 v;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

ARMOR_DEVICE float load_input(const float* from)
{
    float v;
    asm volatile("ld.global.f32 %0, [%1];" : "=f"(v) : "l"(from));
    return v;
}

ARMOR_DEVICE Float2 load_input(const Float2* from)
{
    Float2 v;
    asm volatile("ld.global.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(from));
    return v;
}

ARMOR_DEVICE u32 load_input(const u32* from)
{
    u32 v;
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(v) : "l"(from));
    return v;
}

ARMOR_DEVICE u64 load_input(const u64* from)
{
    u64 v;
    asm volatile("ld.global.u64 %0, [%1];" : "=l"(v) : "l"(from));
    return v;
}

/// What another block of this grid wrote: from the second-level cache, which all blocks share.
ARMOR_DEVICE float load_of_other_block(const float* from)
{
    float v;
    asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(from));
    return v;
}

ARMOR_DEVICE Word4 load_of_other_block(const Word4* from)
{
    Word4 v;
    asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from));
    return v;
}

/// Where shared memory lies in its own space.
ARMOR_DEVICE u32 shared_address(const void* pointer)
{
    u32 address;
    asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }" : "=r"(address) : "l"(pointer));
    return address;
}

/// Begins a copy of sixteen bytes to shared memory, or of zeros. It has ended after wait_for_copies, for the thread that has begun it.
ARMOR_DEVICE void copy_async(Word4* to, const Word4* from, bool is_there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(shared_address(to)), "l"(from), "r"(is_there ? 16 : 0) : "memory");
}

/// Ends a group of copies.
ARMOR_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits for all groups of this thread but the latest ones.
template <int Latest>
ARMOR_DEVICE void wait_for_copies() { asm volatile("cp.async.wait_group %0;" :: "n"(Latest) : "memory"); }

/// Four matrices of 8×8 halves from shared memory; lane l names row l % 8 of matrix l / 8. A lane has of each two neighbours of row lane / 4, or of column lane / 4.
ARMOR_DEVICE Word4 load_matrices(const Word4* row)
{
    Word4 v;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(shared_address(row)) : "memory");
    return v;
}

ARMOR_DEVICE Word4 load_matrices_transposed(const Word4* row)
{
    Word4 v;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
        : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(shared_address(row)) : "memory");
    return v;
}

ARMOR_DEVICE void block_barrier() { asm volatile("bar.sync 0;" ::: "memory"); }

/// Adds one and gives what was there; after the last value comes zero again. What the block has written before the barrier in front of this is seen by
/// whoever takes a later ticket, behind the barrier that follows it: bar.sync orders a block's threads, and acquire and release are cumulative.
ARMOR_DEVICE u32 take_ticket(u32* counter, u32 last)
{
    u32 before;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(before) : "l"(counter), "r"(last) : "memory");
    return before;
}

/// The value of the lane whose number differs in these bits.
ARMOR_DEVICE float from_lane_xor(float value, u32 bits)
{
    float other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(other) : "f"(value), "r"(bits));
    return other;
}

/// With programmatic launches this kernel may have begun before the one that it depends on has ended. Hopper and later; elsewhere kernels follow each other.
ARMOR_DEVICE void wait_for_previous_grid()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

ARMOR_DEVICE void let_next_grid_begin()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Two numbers rounded to sixteen bits, the first in the low half.
ARMOR_DEVICE u32 pack(BFloat16, float low, float high)
{
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

ARMOR_DEVICE u32 pack(Float16, float low, float high)
{
    u32 packed;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

ARMOR_DEVICE float unpack(BFloat16, u16 half)
{
    float value;
    asm("mov.b32 %0, %1;" : "=f"(value) : "r"(static_cast<u32>(half) << 16));
    return value;
}

ARMOR_DEVICE float unpack(Float16, u16 half)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
}

ARMOR_DEVICE float bits_to_float(u32 bits)
{
    float value;
    asm("mov.b32 %0, %1;" : "=f"(value) : "r"(bits));
    return value;
}

ARMOR_DEVICE u32 float_to_bits(float value)
{
    u32 bits;
    asm("mov.b32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
}

/// eˣ to a few units of the last place, 0 and infinity beyond float32's range.
ARMOR_DEVICE float exp_of(float x)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x * 1.4426950408889634f));
    return power;
}

ARMOR_DEVICE float root_of(float x)
{
    float root;
    asm("sqrt.rn.f32 %0, %1;" : "=f"(root) : "f"(x));
    return root;
}

/// The same pointer, which the compiler must keep in a register: of fields that are chosen among, it would make an array in local memory.
template <class T>
ARMOR_DEVICE T* in_register(T* pointer)
{
    T* same;
    asm volatile("mov.b64 %0, %1;" : "=l"(same) : "l"(pointer));
    return same;
}

/// Picks four of the eight bytes of low and high.
ARMOR_DEVICE u32 permute_bytes(u32 low, u32 high, u32 selector)
{
    u32 picked;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(picked) : "r"(low), "r"(high), "r"(selector));
    return picked;
}

#if defined(__CUDACC_VER_MAJOR__) && __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ >= 1205
#define ARMOR_MMA_SP "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32."
#else
#define ARMOR_MMA_SP "mma.sp.sync.aligned.m16n8k32.row.col.f32."
#endif

#define ARMOR_DEFINE_MMA(TYPE, NAME) \
    /* sums += a·b: a is 16×16 dense, b 16×8. */ \
    ARMOR_DEVICE void multiply_dense(TYPE, float (&sums)[4], Word4 a, u32 b0, u32 b1) \
    { \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) \
            : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1)); \
    } \
    /* sums += a·b: a is 16×32 of which half is kept, b 32×8. Threads 2·Selector and 2·Selector + 1 of each four hold the places of the kept. */ \
    template <int Selector> \
    ARMOR_DEVICE void multiply_sparse(TYPE, float (&sums)[4], Word4 a, Word4 b, u32 places) \
    { \
        asm volatile(ARMOR_MMA_SP NAME "." NAME ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9, %10, %11}, {%0, %1, %2, %3}, %12, %13;" \
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) \
            : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "r"(b.z), "r"(b.w), "r"(places), "n"(Selector)); \
    }

ARMOR_DEFINE_MMA(BFloat16, "bf16")
ARMOR_DEFINE_MMA(Float16, "f16")

#endif
