// Runs the kernels' source on a processor, so that their arithmetic, their addresses and their barriers are tested without a card. A block of threads
// is a set of fibers on one thread of the system; shared memory is static and belongs to that thread; what a warp does together (mma, shuffles) waits
// for all 32 lanes. Written from the PTX manual, not from the kernels. Blocks run one after another, in a shuffled order.
#include <algorithm>
#define ARMOR_HOST "emulated.h"
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)
#define ARMOR_DEVICE inline

namespace emulator
{
    enum class Operation { None, DenseMma, SparseMma, Shuffle, LoadMatrices };

#if defined(__x86_64__)
    // Switching stacks by ucontext asks the system each time, which takes twenty times as long as the rest.
    struct Context { void* stack_pointer; };

    extern "C" void armor_emulator_switch(void** from, void* to);
    asm(R"(
        .text
        .globl armor_emulator_switch
        .hidden armor_emulator_switch
        .type armor_emulator_switch, @function
    armor_emulator_switch:
        pushq %rbp
        pushq %rbx
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movq %rsp, (%rdi)
        movq %rsi, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbx
        popq %rbp
        ret
        .size armor_emulator_switch, . - armor_emulator_switch
        .section .note.GNU-stack,"",@progbits
        .text
    )");

    inline void switch_to(Context& from, Context& to) { armor_emulator_switch(&from.stack_pointer, to.stack_pointer); }

    inline void prepare(Context& context, std::vector<char>& stack, void (*entry)())
    {
        auto top = reinterpret_cast<uintptr_t>(stack.data() + stack.size()) & ~uintptr_t(15);
        auto words = reinterpret_cast<void**>(top) - 8; // six registers, where to return to, and what a call would have left
        memset(words, 0, 64);
        words[6] = reinterpret_cast<void*>(entry);
        context.stack_pointer = words;
    }
#else
    struct Context { ucontext_t context; };

    inline void switch_to(Context& from, Context& to) { swapcontext(&from.context, &to.context); }

    inline void prepare(Context& context, std::vector<char>& stack, void (*entry)())
    {
        getcontext(&context.context);
        context.context.uc_stack.ss_sp = stack.data();
        context.context.uc_stack.ss_size = stack.size();
        context.context.uc_link = nullptr;
        makecontext(&context.context, entry, 0);
    }
#endif

    /// A copy to shared memory that has begun: it happens when it is waited for, and no earlier.
    struct PendingCopy { void* to; const void* from; uint32_t group; };

    struct Fiber
    {
        Context context;
        std::vector<char> stack = std::vector<char>(32 << 10);
        bool is_done, waits_for_block, waits_for_warp;
        Operation operation;
        uint32_t a[4], b[4], extra, selector, is_bfloat;
        float sums[4], value;
        const uint16_t* row;
        std::vector<PendingCopy> copies;
        uint32_t groups;
    };

    struct Block
    {
        std::vector<Fiber> fibers;
        Context scheduler;
        uint32_t current, threads, x, y, z, grid_x;
        void (*run)(const void*);
        const void* arguments;
        char error[256];
        uint32_t arrived[32], ended[32]; // lanes of each warp
    };

    // One thread runs all blocks, so these are its own.
    inline Block block;
    inline std::mutex allocations_lock;
    inline std::map<uintptr_t, size_t> allocations;
    inline std::atomic<uint32_t> allocations_version;

    /// The allocation that was read last.
    struct Known { uintptr_t start, end; uint32_t version; };
    inline Known known;

    [[noreturn]] inline void fail(const char* what, const void* address = nullptr)
    {
        snprintf(block.error, sizeof block.error, "%s (block %u,%u,%u, thread %u, address %p)", what, block.x, block.y, block.z, block.current, address);
        switch_to(block.fibers[block.current].context, block.scheduler);
        abort(); // a failed block is never taken up again
    }

    inline void yield() { switch_to(block.fibers[block.current].context, block.scheduler); }

    /// Every access that the kernels make by these functions lies in an allocation and is aligned.
    template <class T>
    T read(const T* from)
    {
        auto address = reinterpret_cast<uintptr_t>(from);
        if (address % sizeof(T) != 0)
        {
            fail("misaligned load", from);
        }

        if (address < known.start || address + sizeof(T) > known.end || known.version != allocations_version)
        {
            std::lock_guard guard(allocations_lock);
            auto next = allocations.upper_bound(address);
            if (next == allocations.begin() || address + sizeof(T) > std::prev(next)->first + std::prev(next)->second)
            {
                fail("load outside of every allocation", from);
            }

            known = { std::prev(next)->first, std::prev(next)->first + std::prev(next)->second, allocations_version };
        }

        return *from;
    }

    inline float from_bfloat16(uint16_t bits)
    {
        uint32_t wide = static_cast<uint32_t>(bits) << 16;
        float value;
        memcpy(&value, &wide, 4);
        return value;
    }

    inline float from_float16(uint16_t bits)
    {
        int exponent = bits >> 10 & 31, fraction = bits & 1023;
        float magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
            : exponent == 0 ? ldexpf(static_cast<float>(fraction), -24) : ldexpf(static_cast<float>(fraction + 1024), exponent - 25);
        return bits >> 15 ? -magnitude : magnitude;
    }

    inline uint16_t to_bfloat16(float value)
    {
        uint32_t bits;
        memcpy(&bits, &value, 4);
        if (std::isnan(value))
        {
            return 0x7fff;
        }

        return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }

    inline uint16_t to_float16(float value)
    {
        uint16_t sign = std::signbit(value) ? 0x8000 : 0;
        float magnitude = fabsf(value);
        if (std::isnan(value))
        {
            return 0x7fff;
        }

        if (magnitude == 0)
        {
            return sign;
        }

        if (magnitude >= 65520.0f)
        {
            return sign | 0x7c00;
        }

        int exponent;
        frexpf(magnitude, &exponent);
        exponent = exponent < -13 ? -13 : exponent;
        auto units = static_cast<uint32_t>(nearbyintf(ldexpf(magnitude, 11 - exponent))); // ties to even
        return sign | static_cast<uint16_t>(units + ((exponent + 13) << 10));
    }

    inline float number(const Fiber& fiber, uint32_t word, uint32_t half)
    {
        auto bits = static_cast<uint16_t>(word >> 16 * half);
        return fiber.is_bfloat ? from_bfloat16(bits) : from_float16(bits);
    }

    /// m16n8k16, and m16n8k32 with half of a kept: PTX ISA, "Matrix fragments for mma" and "... for sparse mma".
    inline void multiply(Fiber* lanes, bool is_sparse)
    {
        // Row and stored column of A's values, row and column of B's.
        float a[16][16], b[32][8], result[16][8];
        int k_of[16][16];
        for (int row = 0; row < 16; row++)
        {
            for (int stored = 0; stored < 16; stored++)
            {
                const Fiber& lane = lanes[row % 8 * 4 + stored % 8 / 2];
                a[row][stored] = number(lane, lane.a[row / 8 + stored / 8 * 2], stored % 2);
                k_of[row][stored] = stored;
                if (is_sparse)
                {
                    // Of each four lanes, 2·selector holds the places of the first sixteen columns and the next lane those of the others; a row's low
                    // half is row % 8, its high half row % 8 + 8; four bits for each group of four columns, the lower place first.
                    int group = stored / 2;
                    uint32_t places = lanes[row % 8 * 4 + lanes[0].selector * 2 + group / 4].extra >> (row / 8 * 16 + group % 4 * 4) & 15;
                    if ((places & 3) >= (places >> 2))
                    {
                        fail("places of kept values out of order");
                    }

                    k_of[row][stored] = group * 4 + (places >> stored % 2 * 2 & 3);
                }
            }
        }

        for (int k = 0; k < (is_sparse ? 32 : 16); k++)
        {
            for (int column = 0; column < 8; column++)
            {
                const Fiber& lane = lanes[column * 4 + k % 8 / 2];
                b[k][column] = number(lane, lane.b[k / 8], k % 2);
            }
        }

        for (int row = 0; row < 16; row++)
        {
            for (int column = 0; column < 8; column++)
            {
                // The sum is held by lane (row % 8) * 4 + column / 2.
                float sum = lanes[row % 8 * 4 + column / 2].sums[row / 8 * 2 + column % 2];
                for (int stored = 0; stored < 16; stored++)
                {
                    sum += a[row][stored] * b[k_of[row][stored]][column];
                }

                result[row][column] = sum;
            }
        }

        for (int lane = 0; lane < 32; lane++)
        {
            for (int i = 0; i < 4; i++)
            {
                lanes[lane].sums[i] = result[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
            }
        }
    }

    /// ldmatrix .x4: matrix m has its rows from lanes 8·m to 8·m + 7.
    inline void load_matrices(Fiber* lanes, bool is_transposed)
    {
        for (int lane = 0; lane < 32; lane++)
        {
            for (int m = 0; m < 4; m++)
            {
                int row = lane / 4, column = lane % 4 * 2;
                const uint16_t* first = lanes[8 * m + (is_transposed ? column : row)].row;
                const uint16_t* second = lanes[8 * m + (is_transposed ? column + 1 : row)].row;
                lanes[lane].a[m] = first[is_transposed ? row : column] | static_cast<uint32_t>(second[is_transposed ? row : column + 1]) << 16;
            }
        }
    }

    /// Waits for the other lanes; the last one to come does the work of all.
    inline void together(Operation operation)
    {
        Fiber* lanes = &block.fibers[block.current / 32 * 32];
        Fiber& own = block.fibers[block.current];
        own.operation = operation;
        own.waits_for_warp = true;
        if (block.ended[block.current / 32] != 0)
        {
            fail("a lane has ended that a warp's operation needs");
        }

        if (++block.arrived[block.current / 32] < 32)
        {
            yield();
            return;
        }

        block.arrived[block.current / 32] = 0;
        for (int i = 0; i < 32; i++)
        {
            if (lanes[i].operation != operation || lanes[i].selector != own.selector || lanes[i].is_bfloat != own.is_bfloat)
            {
                fail("lanes of a warp have parted");
            }

            lanes[i].waits_for_warp = false;
        }

        if (operation == Operation::Shuffle)
        {
            float values[32];
            for (int i = 0; i < 32; i++)
            {
                values[i] = lanes[i].value;
            }

            for (int i = 0; i < 32; i++)
            {
                lanes[i].value = values[i ^ lanes[i].extra];
            }
        }
        else if (operation == Operation::LoadMatrices)
        {
            load_matrices(lanes, own.selector == 1);
        }
        else
        {
            multiply(lanes, operation == Operation::SparseMma);
        }
    }

    inline void enter()
    {
        block.run(block.arguments);
        block.fibers[block.current].is_done = true;
        block.ended[block.current / 32]++;
        yield();
    }

    inline void run_block()
    {
        memset(block.arrived, 0, sizeof block.arrived);
        memset(block.ended, 0, sizeof block.ended);
        for (uint32_t i = 0; i < block.threads; i++)
        {
            Fiber& fiber = block.fibers[i];
            fiber.is_done = fiber.waits_for_block = fiber.waits_for_warp = false;
            fiber.operation = Operation::None;
            fiber.selector = 0;
            fiber.copies.clear();
            fiber.groups = 0;
            prepare(fiber.context, fiber.stack, enter);
        }

        while (true)
        {
            uint32_t ran = 0, done = 0;
            for (uint32_t i = 0; i < block.threads; i++)
            {
                Fiber& fiber = block.fibers[i];
                if (!fiber.is_done && !fiber.waits_for_block && !fiber.waits_for_warp)
                {
                    block.current = i;
                    switch_to(block.scheduler, fiber.context);
                    if (block.error[0] != 0)
                    {
                        return;
                    }

                    ran++;
                }

                done += fiber.is_done;
            }

            if (done == block.threads)
            {
                return;
            }

            if (ran == 0)
            {
                for (uint32_t i = 0; i < block.threads; i++)
                {
                    Fiber& fiber = block.fibers[i];
                    if (!fiber.is_done && fiber.waits_for_warp)
                    {
                        snprintf(block.error, sizeof block.error, "a warp's operation waits for lanes that are at a barrier");
                        return;
                    }

                    fiber.waits_for_block = false;
                }
            }
        }
    }

    inline void run_grid(void (*run)(const void*), const void* arguments, const uint32_t (&grid)[3], uint32_t threads, uint32_t seed)
    {
        block.threads = threads;
        if (block.fibers.size() < threads)
        {
            block.fibers = std::vector<Fiber>(threads);
        }

        block.run = run;
        block.arguments = arguments;
        block.grid_x = grid[0];
        block.error[0] = 0;
        std::vector<uint32_t> order(grid[0] * grid[1] * grid[2]);
        for (uint32_t i = 0; i < order.size(); i++)
        {
            order[i] = i;
        }

        std::shuffle(order.begin(), order.end(), std::mt19937(seed));
        for (uint32_t index : order)
        {
            block.x = index % grid[0];
            block.y = index / grid[0] % grid[1];
            block.z = index / grid[0] / grid[1];
            run_block();
            if (block.error[0] != 0)
            {
                return;
            }
        }
    }

    /// Runs launches one after another: shared memory and fibers are its thread's own, and the runtime that calls never sees a foreign stack.
    class Worker
    {
    public:
        void run(void (*kernel)(const void*), const void* arguments, const uint32_t (&grid)[3], uint32_t threads, uint32_t seed, char* error)
        {
            std::lock_guard one_at_a_time(callers_);
            std::unique_lock lock(lock_);
            work_ = [&] {
                run_grid(kernel, arguments, grid, threads, seed);
                memcpy(error, block.error, sizeof block.error);
            };
            is_waiting_ = true;
            changed_.notify_all();
            changed_.wait(lock, [&] { return !is_waiting_; });
        }

    private:
        std::mutex callers_, lock_;
        std::condition_variable changed_;
        std::function<void()> work_;
        bool is_waiting_ = false;
        std::thread thread_ { [this] {
            std::unique_lock lock(lock_);
            while (true)
            {
                changed_.wait(lock, [&] { return is_waiting_; });
                work_();
                is_waiting_ = false;
                changed_.notify_all();
            }
        } };
    };

    inline Worker& worker()
    {
        static Worker* worker = new Worker; // lives as long as the process: its thread is waiting when that ends
        return *worker;
    }

    inline void launch(void (*run)(const void*), const void* arguments, const uint32_t (&grid)[3], uint32_t threads, uint32_t seed, char* error)
    {
        worker().run(run, arguments, grid, threads, seed, error);
    }
}

#define ARMOR_TID static_cast<int>(emulator::block.current)
#define ARMOR_BLOCK_X emulator::block.x
#define ARMOR_BLOCK_Y emulator::block.y
#define ARMOR_BLOCK_Z emulator::block.z
#define ARMOR_GRID_X emulator::block.grid_x
