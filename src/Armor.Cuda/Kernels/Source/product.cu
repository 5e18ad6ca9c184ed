// y = A·(S·(B·x)) for up to sixteen inputs at a time, bound by the memory that the weights are read from. A launch here; what brings x into order is
// in input.cu.

/// One weight of a product; the same fields in the same order as in C#.
struct ProductPart
{
    const Word4* weight;        // [row tiles, chunks] of the weight's form
    const Word4* wrapper;       // A: [row tiles, wrapper_steps, 32 lanes], or null
    float* output;              // [batch, rows]
    int rows;
    int first_block;            // of threads: those before belong to the parts before
};

/// Arguments of a product by up to three weights of the same columns and kind, such as those of queries, keys and values: one launch has more to fill the card with.
struct ProductArguments
{
    ProductPart first, second, third; // of parts that are not there, the first block is beyond the grid
    const Word4* input;         // [parts, inputs / 8, chunks · 8 steps, 32 lanes]
    u64 input_stride;           // from part to part, in words of sixteen bytes; 0 where all have one input
    float* partials;            // [groups of inputs, row blocks, splits, 128 rows, 1 << stride_shift]
    u32* tickets;               // [groups of inputs, row blocks], zero between launches
    int chunks;
    int splits;                 // at most chunks
    int batch;
    int stride_shift;
    int wrapper_steps;          // block size of A / 16: 1, 2, 4 or 8
};

/// A product by one of the weights, as one block of threads sees it.
struct OwnPart
{
    const Word4* weight;
    const Word4* wrapper;
    float* output;
    int rows;
    int block;                  // of the part's own rows
    int index;                  // of the part
};

ARMOR_DEVICE OwnPart own_part(const ProductArguments& a, int block)
{
    OwnPart part = { in_register(a.first.weight), in_register(a.first.wrapper), in_register(a.first.output), a.first.rows, block, 0 };
    if (block >= a.third.first_block)
    {
        part = { in_register(a.third.weight), in_register(a.third.wrapper), in_register(a.third.output), a.third.rows, block - a.third.first_block, 2 };
    }
    else if (block >= a.second.first_block)
    {
        part = { in_register(a.second.weight), in_register(a.second.wrapper), in_register(a.second.output), a.second.rows, block - a.second.first_block, 1 };
    }

    return part;
}

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
ARMOR_DEVICE void apply_wrapper(const ProductArguments& a, const OwnPart& part, const float* partials, int first_input, int inputs, int rows_here)
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
    const int tile = part.block * BlockTiles + warp;
    if (tile * TileRows >= part.rows)
    {
        return;
    }

    float sums[Tiles][4] = {};
    const int first_half = warp * TileRows / (a.wrapper_steps * TileRows) * a.wrapper_steps;
    for (int j = 0; j < a.wrapper_steps; j++)
    {
        Word4 values = load_stream(part.wrapper + (static_cast<u64>(tile) * a.wrapper_steps + j) * Lanes + lane);
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
        if (row < part.rows && input < inputs)
        {
            part.output[static_cast<u64>(first_input + input) * part.rows + row] = sums[i / 4][i % 4];
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
    const OwnPart part = own_part(a, block);
    const int tile = part.block * BlockTiles + warp;
    const int first = static_cast<u32>(a.chunks) * split / static_cast<u32>(a.splits);
    const int last = static_cast<u32>(a.chunks) * (split + 1) / static_cast<u32>(a.splits);
    const int first_input = group * Tiles * 8;
    const int inputs = a.batch - first_input < Tiles * 8 ? a.batch - first_input : Tiles * 8;
    const int stride = 1 << a.stride_shift;
    float* partials = a.partials + (static_cast<u64>(group) * ARMOR_GRID_X + block) * a.splits * BlockRows * stride;

    float sums[Tiles][4] = {};
    if (tile * TileRows < part.rows)
    {
        const u64 row_start = static_cast<u64>(tile) * a.chunks;
        typename Form::Chunk current = Form::load(part.weight, row_start + first, lane);
        if (split == 0 && lane < a.wrapper_steps * 4)
        {
            // A is wanted at the very end, by whoever comes last: eight lanes' words a line.
            prefetch(part.wrapper + (static_cast<u64>(tile) * a.wrapper_steps * 4 + lane) * 8);
        }

        wait_for_previous_grid();
        const int tile_stride = a.chunks * ChunkSteps * Lanes;
        const Word4* input = a.input + part.index * a.input_stride + static_cast<u64>(group) * Tiles * tile_stride + first * ChunkSteps * Lanes + lane;
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
                    next = Form::load(part.weight, row_start + chunk + 1, lane);
                }

                multiply_chunk<Form, Tiles>(current, input, tile_stride, has_input, sums);
                current = next;
            }
            else
            {
                multiply_chunk<Form, Tiles>(current, input, tile_stride, has_input, sums);
                if (chunk + 1 < last)
                {
                    current = Form::load(part.weight, row_start + chunk + 1, lane);
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

    const int rows_here = part.rows - part.block * BlockRows < BlockRows ? part.rows - part.block * BlockRows : BlockRows;
    if (a.wrapper_steps > 0)
    {
        apply_wrapper<typename Form::Element, Tiles>(a, part, partials, first_input, inputs, rows_here);
        return;
    }

    for (int i = tid; i < rows_here * inputs; i += BlockTiles * Lanes)
    {
        int row = i % rows_here, input = i / rows_here;
        part.output[static_cast<u64>(first_input + input) * part.rows + part.block * BlockRows + row]
            = sum_of_splits(partials, row * stride + input, a.splits, BlockRows * stride);
    }
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
