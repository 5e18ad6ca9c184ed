// y = A·(S·(B·x)) for up to sixteen inputs at a time, bound by the memory that the weights are read from.
//
// Every matrix lies in memory in the order in which the tensor cores' fragments want it, so that each weight is loaded once, sixteen bytes a thread, a
// whole warp side by side, from memory straight into the registers of the thread that multiplies by it. Fragments are those of the PTX manual for
// mma.m16n8k16 and mma.sp.m16n8k32: a lane is g = lane / 4 and t = lane % 4.
//
// Inputs lie in steps of 32 columns for eight inputs at a time: 32 lanes of sixteen bytes. Lane (g, t) holds of input g the columns 8r + 2t + e of the
// step, r from 0 to 3 and e of 0 and 1, at place 2r + e: the fragment of mma.sp, and that of two mma of 16 columns each.

constexpr int StepColumns = 32;
constexpr int ChunkSteps = 8;
constexpr int TileRows = 16;
constexpr int BlockTiles = 8;
constexpr int BlockRows = TileRows * BlockTiles;
constexpr int Lanes = 32;

/// Arguments of a product; the same fields in the same order as in C#.
struct ProductArguments
{
    const Word4* weight;        // [row tiles, chunks] of the weight's form
    const Word4* input;         // [inputs / 8, chunks · 8 steps, 32 lanes]
    const Word4* wrapper;       // A: [row tiles, wrapper_steps, 32 lanes], or null
    float* partials;            // [groups of inputs, row blocks, splits, 128 rows, 1 << stride_shift]
    u32* tickets;               // [groups of inputs, row blocks], zero between launches
    float* output;              // [batch, rows]
    int rows;
    int row_tiles;
    int chunks;
    int splits;                 // at most chunks
    int batch;
    int stride_shift;
    int wrapper_steps;          // block size of A / 16: 1, 2, 4 or 8
};

/// Sixteen-bit values, all of them: 16 mma a chunk.
template <class Type>
struct DenseForm
{
    typedef Type Element;
    struct Chunk { Word4 values[2 * ChunkSteps]; };

    static ARMOR_DEVICE Chunk load(const Word4* weight, u64 index, int lane)
    {
        const Word4* from = weight + index * (2 * ChunkSteps * Lanes) + lane;
        Chunk chunk;
#pragma unroll
        for (int i = 0; i < 2 * ChunkSteps; i++)
        {
            chunk.values[i] = load_stream(from + i * Lanes);
        }

        return chunk;
    }

    template <int Step>
    static ARMOR_DEVICE void multiply(const Chunk& chunk, Word4 input, float (&sums)[4])
    {
        multiply_dense(Type(), sums, chunk.values[2 * Step], input.x, input.y);
        multiply_dense(Type(), sums, chunk.values[2 * Step + 1], input.z, input.w);
    }

    static constexpr bool IsScaled = false;
    static constexpr bool IsFetchedAhead = false; // two chunks would not fit into the registers; one alone is 8 KiB a warp
};

/// The word of a chunk's four that holds the places of a step's kept values.
template <int Step>
ARMOR_DEVICE u32 places_of(Word4 places)
{
    return Step / 2 == 0 ? places.x : Step / 2 == 1 ? places.y : Step / 2 == 2 ? places.z : places.w;
}

/// 2:4 with values of sixteen bits: 8 mma.sp a chunk, 4608 bytes.
template <class Type>
struct SparseForm
{
    typedef Type Element;
    struct Chunk { Word4 values[ChunkSteps]; Word4 places; };

    static ARMOR_DEVICE Chunk load(const Word4* weight, u64 index, int lane)
    {
        const Word4* from = weight + index * ((ChunkSteps + 1) * Lanes) + lane;
        Chunk chunk;
#pragma unroll
        for (int i = 0; i < ChunkSteps; i++)
        {
            chunk.values[i] = load_stream(from + i * Lanes);
        }

        chunk.places = load_stream(from + ChunkSteps * Lanes);
        return chunk;
    }

    template <int Step>
    static ARMOR_DEVICE void multiply(const Chunk& chunk, Word4 input, float (&sums)[4])
    {
        multiply_sparse<Step % 2>(Type(), sums, chunk.values[Step], input, places_of<Step>(chunk.places));
    }

    static constexpr bool IsScaled = false;
    static constexpr bool IsFetchedAhead = true;
};

/// 2:4 with values of eight bits, 128 added, and a scale for each row of a chunk: 2592 bytes. Whole numbers up to 127 are exact in either type.
template <class Type>
struct Int8Form
{
    typedef Type Element;
    struct Chunk { Word4 values[ChunkSteps / 2]; Word4 places; float scales[2]; };

    static ARMOR_DEVICE Chunk load(const Word4* weight, u64 index, int lane)
    {
        const Word4* chunk_start = weight + index * ((ChunkSteps / 2 + 1) * Lanes + 2);
        const Word4* from = chunk_start + lane;
        Chunk chunk;
#pragma unroll
        for (int i = 0; i < ChunkSteps / 2; i++)
        {
            chunk.values[i] = load_stream(from + i * Lanes);
        }

        chunk.places = load_stream(from + ChunkSteps / 2 * Lanes);
        const u16* scales = reinterpret_cast<const u16*>(chunk_start + (ChunkSteps / 2 + 1) * Lanes);
        chunk.scales[0] = bits_to_float(static_cast<u32>(scales[lane / 4]) << 16);
        chunk.scales[1] = bits_to_float(static_cast<u32>(scales[lane / 4 + 8]) << 16);
        return chunk;
    }

    template <int Step>
    static ARMOR_DEVICE void multiply(const Chunk& chunk, Word4 input, float (&sums)[4])
    {
        Word4 two = chunk.values[Step / 2];
        u32 low = Step % 2 == 0 ? two.x : two.z;
        u32 high = Step % 2 == 0 ? two.y : two.w;
        Word4 values = { halves<0>(low), halves<2>(low), halves<0>(high), halves<2>(high) };
        multiply_sparse<Step % 2>(Type(), sums, values, input, places_of<Step>(chunk.places));
    }

    static ARMOR_DEVICE void add_scaled(const Chunk& chunk, float (&sums)[4], const float (&of_chunk)[4])
    {
        sums[0] += chunk.scales[0] * of_chunk[0];
        sums[1] += chunk.scales[0] * of_chunk[1];
        sums[2] += chunk.scales[1] * of_chunk[2];
        sums[3] += chunk.scales[1] * of_chunk[3];
    }

    static constexpr bool IsScaled = true;
    static constexpr bool IsFetchedAhead = true;

private:
    template <int First>
    static ARMOR_DEVICE u32 halves(u32 bytes)
    {
        return pack(Type(), number<First>(bytes), number<First + 1>(bytes));
    }

    /// A byte in the low bits of 2^23: exact, and no conversion, which is slow.
    template <int Byte>
    static ARMOR_DEVICE float number(u32 bytes)
    {
        return bits_to_float(permute_bytes(bytes, 0x4b000000u, 0x7540u + Byte)) - 8388736.0f;
    }
};

/// One step of all inputs: the weight's fragment serves each eight of them.
template <class Form, int Tiles, int Step>
ARMOR_DEVICE void multiply_steps(const typename Form::Chunk& chunk, const Word4* input, int tile_stride, const bool (&has_input)[Tiles], float (&sums)[Tiles][4])
{
    if constexpr (Step < ChunkSteps)
    {
#pragma unroll
        for (int i = 0; i < Tiles; i++)
        {
            Word4 own = { 0, 0, 0, 0 };
            if (has_input[i])
            {
                own = load_input(input + i * tile_stride + Step * Lanes);
            }

            Form::template multiply<Step>(chunk, own, sums[i]);
        }

        multiply_steps<Form, Tiles, Step + 1>(chunk, input, tile_stride, has_input, sums);
    }
}

template <class Form, int Tiles>
ARMOR_DEVICE void multiply_chunk(const typename Form::Chunk& chunk, const Word4* input, int tile_stride, const bool (&has_input)[Tiles], float (&sums)[Tiles][4])
{
    if constexpr (Form::IsScaled)
    {
        float of_chunk[Tiles][4] = {};
        multiply_steps<Form, Tiles, 0>(chunk, input, tile_stride, has_input, of_chunk);
#pragma unroll
        for (int i = 0; i < Tiles; i++)
        {
            Form::add_scaled(chunk, sums[i], of_chunk[i]);
        }
    }
    else
    {
        multiply_steps<Form, Tiles, 0>(chunk, input, tile_stride, has_input, sums);
    }
}

/// Where column `column` of input `input` lies, in halves: the order of fragments.
ARMOR_DEVICE u64 place_in_steps(int column, int input, int steps)
{
    int in_step = column % StepColumns;
    u64 lane = (static_cast<u64>(input / 8) * steps + column / StepColumns) * Lanes + input % 8 * 4 + in_step % 8 / 2;
    return lane * 8 + in_step / 8 * 2 + in_step % 2;
}

/// The sum of a row over the splits, in their order, whoever comes last.
ARMOR_DEVICE float sum_of_splits(const float* partials, int index, int splits, int split_stride)
{
    float sum = 0;
    for (int split = 0; split < splits; split++)
    {
        sum += load_of_other_block(partials + static_cast<u64>(split) * split_stride + index);
    }

    return sum;
}

/// A times the sums of 128 rows. The sums are rounded to the weight's type, as inputs of the next matrix always are.
template <class Type, int Tiles>
ARMOR_DEVICE void apply_wrapper(const ProductArguments& a, const float* partials, int first_input, int inputs, int rows_here)
{
    __shared__ Word4 sums_in_steps[Tiles * BlockRows / StepColumns * Lanes];
    u16* halves = reinterpret_cast<u16*>(sums_in_steps);
    const int tid = ARMOR_TID, lane = tid % Lanes, warp = tid / Lanes;
    const int stride = 1 << a.stride_shift;
    for (int i = tid; i < BlockRows * Tiles * 8; i += BlockTiles * Lanes)
    {
        int input = i % (Tiles * 8), row = i / (Tiles * 8);
        float sum = input < inputs && row < rows_here ? sum_of_splits(partials, row * stride + input, a.splits, BlockRows * stride) : 0;
        halves[place_in_steps(row, input, BlockRows / StepColumns)] = static_cast<u16>(pack(Type(), sum, 0));
    }

    block_barrier();
    const int tile = ARMOR_BLOCK_X * BlockTiles + warp;
    if (tile >= a.row_tiles)
    {
        return;
    }

    float sums[Tiles][4] = {};
    const int first_half = warp * TileRows / (a.wrapper_steps * TileRows) * a.wrapper_steps;
    for (int j = 0; j < a.wrapper_steps; j++)
    {
        Word4 values = load_stream(a.wrapper + (static_cast<u64>(tile) * a.wrapper_steps + j) * Lanes + lane);
        int half = first_half + j;
#pragma unroll
        for (int i = 0; i < Tiles; i++)
        {
            Word4 input = sums_in_steps[(i * (BlockRows / StepColumns) + half / 2) * Lanes + lane];
            multiply_dense(Type(), sums[i], values, half % 2 == 0 ? input.x : input.z, half % 2 == 0 ? input.y : input.w);
        }
    }

#pragma unroll
    for (int i = 0; i < Tiles * 4; i++)
    {
        int row = tile * TileRows + lane / 4 + i % 4 / 2 * 8;
        int input = i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (row < a.rows && input < inputs)
        {
            a.output[static_cast<u64>(first_input + input) * a.rows + row] = sums[i / 4][i % 4];
        }
    }
}

/// One block of threads: 128 rows, a warp each sixteen, and one of the splits of the columns. The last block of a row block adds up, applies A and writes.
template <class Form, int Tiles>
ARMOR_DEVICE void product(const ProductArguments& a)
{
    let_next_grid_begin();
    const int tid = ARMOR_TID, lane = tid % Lanes, warp = tid / Lanes;
    const int block = ARMOR_BLOCK_X, split = ARMOR_BLOCK_Y, group = ARMOR_BLOCK_Z;
    const int tile = block * BlockTiles + warp;
    const int first = static_cast<int>(static_cast<long long>(a.chunks) * split / a.splits);
    const int last = static_cast<int>(static_cast<long long>(a.chunks) * (split + 1) / a.splits);
    const int first_input = group * Tiles * 8;
    const int inputs = a.batch - first_input < Tiles * 8 ? a.batch - first_input : Tiles * 8;
    const int stride = 1 << a.stride_shift;
    float* partials = a.partials + (static_cast<u64>(group) * ARMOR_GRID_X + block) * a.splits * BlockRows * stride;

    float sums[Tiles][4] = {};
    if (tile < a.row_tiles)
    {
        const u64 row_start = static_cast<u64>(tile) * a.chunks;
        typename Form::Chunk current = Form::load(a.weight, row_start + first, lane);
        wait_for_previous_grid();
        const int tile_stride = a.chunks * ChunkSteps * Lanes;
        const Word4* input = a.input + static_cast<u64>(group) * Tiles * tile_stride + first * ChunkSteps * Lanes + lane;
        bool has_input[Tiles];
#pragma unroll
        for (int i = 0; i < Tiles; i++)
        {
            has_input[i] = i * 8 + lane / 4 < inputs;
        }

        for (int chunk = first; chunk < last; chunk++)
        {
            if constexpr (Form::IsFetchedAhead)
            {
                typename Form::Chunk next = current;
                if (chunk + 1 < last)
                {
                    next = Form::load(a.weight, row_start + chunk + 1, lane);
                }

                multiply_chunk<Form, Tiles>(current, input, tile_stride, has_input, sums);
                current = next;
            }
            else
            {
                multiply_chunk<Form, Tiles>(current, input, tile_stride, has_input, sums);
                if (chunk + 1 < last)
                {
                    current = Form::load(a.weight, row_start + chunk + 1, lane);
                }
            }

            input += ChunkSteps * Lanes;
        }

#pragma unroll
        for (int i = 0; i < Tiles * 2; i++)
        {
            int row = warp * TileRows + lane / 4 + i % 2 * 8;
            int column = i / 2 * 8 + lane % 4 * 2;
            if (column < stride)
            {
                Float2 two = { sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1] };
                *reinterpret_cast<Float2*>(partials + (static_cast<u64>(split) * BlockRows + row) * stride + column) = two;
            }
        }
    }
    else
    {
        wait_for_previous_grid();
    }

    __shared__ u32 ticket;
    device_fence();
    block_barrier();
    if (tid == 0)
    {
        ticket = take_ticket(a.tickets + group * ARMOR_GRID_X + block, a.splits - 1);
    }

    block_barrier();
    if (ticket != static_cast<u32>(a.splits - 1))
    {
        return;
    }

    device_fence();
    const int rows_here = a.rows - block * BlockRows < BlockRows ? a.rows - block * BlockRows : BlockRows;
    if (a.wrapper_steps > 0)
    {
        apply_wrapper<typename Form::Element, Tiles>(a, partials, first_input, inputs, rows_here);
        return;
    }

    for (int i = tid; i < rows_here * inputs; i += BlockTiles * Lanes)
    {
        int row = i % rows_here, input = i / rows_here;
        a.output[static_cast<u64>(first_input + input) * a.rows + block * BlockRows + row]
            = sum_of_splits(partials, row * stride + input, a.splits, BlockRows * stride);
    }
}

/// Arguments of what makes the input of a product.
struct InputArguments
{
    const Word4* wrapper;       // B: [row tiles, wrapper_steps, 32 lanes]
    const float* input;         // [batch, columns]
    u16* output;                // steps
    int columns;
    int steps;                  // of the output, the last ones may reach beyond the columns
    int batch;
    int wrapper_steps;          // block size of B / 16
};

/// B·x into steps. A warp makes sixteen columns for eight inputs; beyond the last column it makes zeros.
template <class Type>
ARMOR_DEVICE void input_product(const InputArguments& a)
{
    let_next_grid_begin();
    const int tid = ARMOR_TID, lane = tid % Lanes, g = lane / 4, t = lane % 4;
    const int tile = ARMOR_BLOCK_X * 2 + tid / Lanes, group = ARMOR_BLOCK_Y;
    if (tile >= a.steps * 2)
    {
        return;
    }

    float sums[4] = {};
    const bool is_inside = tile * TileRows < a.columns;
    const bool has_input = is_inside && group * 8 + g < a.batch;
    const int first = tile / (a.wrapper_steps > 0 ? a.wrapper_steps : 1) * a.wrapper_steps * TileRows;
    const float* x = a.input + static_cast<u64>(has_input ? group * 8 + g : 0) * a.columns + first + 2 * t;
    const Word4* wrapper = a.wrapper + static_cast<u64>(tile) * a.wrapper_steps * Lanes + lane;
    for (int start = 0; is_inside && start < a.wrapper_steps; start += 8)
    {
        Word4 values[8];
#pragma unroll
        for (int j = 0; j < 8; j++)
        {
            if (start + j < a.wrapper_steps)
            {
                values[j] = load_stream(wrapper + (start + j) * Lanes);
            }
        }

        if (start == 0)
        {
            wait_for_previous_grid();
        }

#pragma unroll
        for (int j = 0; j < 8; j++)
        {
            if (start + j < a.wrapper_steps)
            {
                Float2 low = { 0, 0 }, high = { 0, 0 };
                if (has_input)
                {
                    low = load_input(reinterpret_cast<const Float2*>(x + (start + j) * 16));
                    high = load_input(reinterpret_cast<const Float2*>(x + (start + j) * 16 + 8));
                }

                multiply_dense(Type(), sums, values[j], pack(Type(), low.x, low.y), pack(Type(), high.x, high.y));
            }
        }
    }

    if (!is_inside)
    {
        wait_for_previous_grid();
    }

#pragma unroll
    for (int i = 0; i < 4; i++)
    {
        int column = tile * TileRows + g + i / 2 * 8;
        int input = group * 8 + 2 * t + i % 2;
        a.output[place_in_steps(column, input, a.steps)] = static_cast<u16>(pack(Type(), sums[i], 0));
    }
}

/// x into steps, as it is. A thread makes sixteen bytes.
template <class Type>
ARMOR_DEVICE void arrange(const InputArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int index = ARMOR_BLOCK_X * 128 + ARMOR_TID, group = ARMOR_BLOCK_Y;
    if (index >= a.steps * Lanes)
    {
        return;
    }

    const int step = index / Lanes, g = index % Lanes / 4, t = index % 4, input = group * 8 + g;
    u32 words[4];
#pragma unroll
    for (int r = 0; r < 4; r++)
    {
        float two[2];
#pragma unroll
        for (int e = 0; e < 2; e++)
        {
            int column = step * StepColumns + 8 * r + 2 * t + e;
            two[e] = input < a.batch && column < a.columns ? load_input(a.input + static_cast<u64>(input) * a.columns + column) : 0;
        }

        words[r] = pack(Type(), two[0], two[1]);
    }

    Word4 packed = { words[0], words[1], words[2], words[3] };
    reinterpret_cast<Word4*>(a.output)[static_cast<u64>(group) * a.steps * Lanes + index] = packed;
}

#define ARMOR_PRODUCT(NAME, FORM, TYPE) \
    extern "C" __global__ void __launch_bounds__(256, 2) NAME##_8(ProductArguments a) { product<FORM<TYPE>, 1>(a); } \
    extern "C" __global__ void __launch_bounds__(256, 2) NAME##_16(ProductArguments a) { product<FORM<TYPE>, 2>(a); }

ARMOR_PRODUCT(armor_sparse_bf16, SparseForm, BFloat16)
ARMOR_PRODUCT(armor_sparse_f16, SparseForm, Float16)
ARMOR_PRODUCT(armor_int8_bf16, Int8Form, BFloat16)
ARMOR_PRODUCT(armor_int8_f16, Int8Form, Float16)
ARMOR_PRODUCT(armor_dense_bf16, DenseForm, BFloat16)
ARMOR_PRODUCT(armor_dense_f16, DenseForm, Float16)

extern "C" __global__ void __launch_bounds__(64) armor_input_bf16(InputArguments a) { input_product<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(64) armor_input_f16(InputArguments a) { input_product<Float16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_arrange_bf16(InputArguments a) { arrange<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_arrange_f16(InputArguments a) { arrange<Float16>(a); }
