// The functions that platform.cuh leaves to the host, after its types.

inline Word4 load_stream(const Word4* from) { return emulator::read(from); }
inline Word4 load_input(const Word4* from) { return emulator::read(from); }
inline float load_input(const float* from) { return emulator::read(from); }
inline Float2 load_input(const Float2* from) { return emulator::read(from); }
inline u32 load_input(const u32* from) { return emulator::read(from); }
inline u64 load_input(const u64* from) { return emulator::read(from); }
inline void prefetch(const Word4* from) { emulator::read(from); }
inline float load_of_other_block(const float* from) { return emulator::read(from); }
inline Word4 load_of_other_block(const Word4* from) { return emulator::read(from); }
inline void wait_for_previous_grid() {}
inline void let_next_grid_begin() {}

/// What is being copied is no number until the copy has been waited for.
inline void copy_async(Word4* to, const Word4* from, bool is_there)
{
    if (reinterpret_cast<uintptr_t>(to) % 16 != 0)
    {
        emulator::fail("misaligned copy", to);
    }

    if (is_there)
    {
        emulator::read(from);
    }

    memset(static_cast<void*>(to), 0xFF, 16);
    auto& own = emulator::block.fibers[emulator::block.current];
    own.copies.push_back({ to, is_there ? from : nullptr, own.groups });
}

inline void commit_copies() { emulator::block.fibers[emulator::block.current].groups++; }

template <int Latest>
inline void wait_for_copies()
{
    auto& own = emulator::block.fibers[emulator::block.current];
    auto& copies = own.copies;
    copies.erase(std::remove_if(copies.begin(), copies.end(), [&](const emulator::PendingCopy& copy) {
        bool is_due = copy.group + Latest < own.groups;
        if (is_due && copy.from != nullptr)
        {
            memcpy(copy.to, copy.from, 16);
        }
        else if (is_due)
        {
            memset(copy.to, 0, 16);
        }

        return is_due;
    }), copies.end());
}

inline Word4 load_matrices(const Word4* row, u32 is_transposed = 0)
{
    auto& own = emulator::block.fibers[emulator::block.current];
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0)
    {
        emulator::fail("misaligned row of a matrix", row);
    }

    own.row = reinterpret_cast<const uint16_t*>(row);
    own.selector = is_transposed;
    own.is_bfloat = 0;
    emulator::together(emulator::Operation::LoadMatrices);
    own.selector = 0;
    return { own.a[0], own.a[1], own.a[2], own.a[3] };
}

inline Word4 load_matrices_transposed(const Word4* row) { return load_matrices(row, 1); }

inline void block_barrier()
{
    emulator::block.fibers[emulator::block.current].waits_for_block = true;
    emulator::yield();
}

inline u32 take_ticket(u32* counter, u32 last)
{
    u32 before = emulator::read(counter);
    *counter = before >= last ? 0 : before + 1;
    return before;
}

inline float from_lane_xor(float value, u32 bits)
{
    auto& own = emulator::block.fibers[emulator::block.current];
    own.value = value;
    own.extra = bits;
    emulator::together(emulator::Operation::Shuffle);
    return own.value;
}

inline u32 pack(BFloat16, float low, float high)
{
    return emulator::to_bfloat16(low) | static_cast<u32>(emulator::to_bfloat16(high)) << 16;
}

inline u32 pack(Float16, float low, float high)
{
    return emulator::to_float16(low) | static_cast<u32>(emulator::to_float16(high)) << 16;
}

inline float unpack(BFloat16, u16 half) { return emulator::from_bfloat16(half); }
inline float unpack(Float16, u16 half) { return emulator::from_float16(half); }

inline float bits_to_float(u32 bits)
{
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

inline u32 float_to_bits(float value)
{
    u32 bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline float exp_of(float x) { return expf(x); }
inline float root_of(float x) { return sqrtf(x); }

template <class T>
inline T* in_register(T* pointer) { return pointer; }

inline u32 permute_bytes(u32 low, u32 high, u32 selector)
{
    u64 both = low | static_cast<u64>(high) << 32;
    u32 picked = 0;
    for (int i = 0; i < 4; i++)
    {
        picked |= static_cast<u32>(both >> (selector >> 4 * i & 7) * 8 & 255) << 8 * i;
    }

    return picked;
}

inline void multiply_together(emulator::Operation operation, bool is_bfloat, float (&sums)[4], Word4 a, Word4 b, u32 places, u32 selector)
{
    auto& own = emulator::block.fibers[emulator::block.current];
    memcpy(own.a, &a, 16);
    memcpy(own.b, &b, 16);
    memcpy(own.sums, sums, 16);
    own.extra = places;
    own.selector = selector;
    own.is_bfloat = is_bfloat;
    emulator::together(operation);
    memcpy(sums, own.sums, 16);
}

inline bool is_bfloat(BFloat16) { return true; }
inline bool is_bfloat(Float16) { return false; }

template <class Type>
inline void multiply_dense(Type type, float (&sums)[4], Word4 a, u32 b0, u32 b1)
{
    multiply_together(emulator::Operation::DenseMma, is_bfloat(type), sums, a, { b0, b1, 0, 0 }, 0, 0);
}

template <int Selector, class Type>
inline void multiply_sparse(Type type, float (&sums)[4], Word4 a, Word4 b, u32 places)
{
    multiply_together(emulator::Operation::SparseMma, is_bfloat(type), sums, a, b, places, Selector);
}
