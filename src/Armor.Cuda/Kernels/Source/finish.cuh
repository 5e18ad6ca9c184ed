// The end of a product by few inputs: whoever comes last of a block of rows adds up the splits, applies A and writes, or adds to what is there.

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

/// Adds a result to what is there, and gives the square of the sum.
ARMOR_DEVICE float add_to_output(const ProductArguments& a, float* output, int row, float value)
{
    const float sum = load_input(output) + (value + (a.bias != nullptr ? load_input(a.bias + row) : 0));
    *output = sum;
    return sum * sum;
}

/// Writes the sums of squares of a block of rows, which the warps hold in parts.
template <int Inputs>
ARMOR_DEVICE void write_squares(const ProductArguments& a, const OwnInputs& own, const float (&squares)[BlockTiles][Inputs], int block)
{
    block_barrier();
    const int input = ARMOR_TID;
    if (input < own.count)
    {
        float sum = 0;
        for (int i = 0; i < BlockTiles; i++)
        {
            sum += squares[i][input];
        }

        a.squares[static_cast<u64>(own.first + input) * ARMOR_GRID_X + block] = sum;
    }
}

/// A times the sums of 128 rows. The sums are rounded to the weight's type, as inputs of the next matrix always are.
template <class Type, int Tiles>
ARMOR_DEVICE void apply_wrapper(const ProductArguments& a, const OwnPart& part, const float* partials, const OwnInputs& own, int rows_here)
{
    __shared__ Word4 sums_in_steps[Tiles * BlockRows / StepColumns * Lanes];
    u16* halves = reinterpret_cast<u16*>(sums_in_steps);
    const int tid = ARMOR_TID, lane = tid % Lanes, warp = tid / Lanes;
    const int stride = 1 << a.stride_shift;
    for (int i = tid; i < BlockRows * Tiles * 8; i += BlockTiles * Lanes)
    {
        int input = i % (Tiles * 8), row = i / (Tiles * 8);
        float sum = input < own.count && row < rows_here ? sum_of_splits(partials, row * stride + input, a.splits, BlockRows * stride) : 0;
        halves[place_in_steps(row, input, BlockRows / StepColumns)] = static_cast<u16>(pack(Type(), sum, 0));
    }

    block_barrier();
    const int tile = part.block * BlockTiles + warp;
    float sums[Tiles][4] = {};
    const int first_half = warp * TileRows / (a.wrapper_steps * TileRows) * a.wrapper_steps;
    for (int j = 0; tile * TileRows < part.rows && j < a.wrapper_steps; j++)
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

    float squares[Tiles * 2] = {};
#pragma unroll
    for (int i = 0; i < Tiles * 4; i++)
    {
        int row = tile * TileRows + lane / 4 + i % 4 / 2 * 8;
        int input = i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (row < part.rows && input < own.count)
        {
            float* output = part.output + static_cast<u64>(own.first + input) * part.rows + row;
            if (a.squares != nullptr)
            {
                squares[i / 4 * 2 + i % 2] += add_to_output(a, output, row, sums[i / 4][i % 4]);
            }
            else
            {
                *output = sums[i / 4][i % 4];
            }
        }
    }

    if (a.squares != nullptr)
    {
        __shared__ float of_warps[BlockTiles][Tiles * 8];
#pragma unroll
        for (int i = 0; i < Tiles * 2; i++)
        {
#pragma unroll
            for (u32 bits = 4; bits < Lanes; bits *= 2)
            {
                squares[i] += from_lane_xor(squares[i], bits);
            }

            if (lane < 4)
            {
                of_warps[warp][i / 2 * 8 + lane * 2 + i % 2] = squares[i];
            }
        }

        write_squares(a, own, of_warps, part.block);
    }
}

/// The sums of 128 rows as they are: a thread a row, two inputs at a time.
template <int Tiles>
ARMOR_DEVICE void write_sums(const ProductArguments& a, const OwnPart& part, const float* partials, const OwnInputs& own, int rows_here)
{
    __shared__ float of_warps[BlockTiles][Tiles * 8];
    const int lane = ARMOR_TID % Lanes, warp = ARMOR_TID / Lanes, row = ARMOR_TID % BlockRows;
    const int stride = 1 << a.stride_shift;
    for (int input = ARMOR_TID / BlockRows; input < Tiles * 8; input += BlockTiles * Lanes / BlockRows)
    {
        float square = 0;
        if (row < rows_here && input < own.count)
        {
            const float sum = sum_of_splits(partials, row * stride + input, a.splits, BlockRows * stride);
            float* output = part.output + static_cast<u64>(own.first + input) * part.rows + part.block * BlockRows + row;
            if (a.squares != nullptr)
            {
                square = add_to_output(a, output, part.block * BlockRows + row, sum);
            }
            else
            {
                *output = sum;
            }
        }

        if (a.squares != nullptr)
        {
            // Half of the warps have an input; the others stand in for nothing.
            square = sum_of_warp(square);
            if (lane == 0)
            {
                of_warps[warp][input] = square;
                of_warps[(warp + BlockTiles / 2) % BlockTiles][input] = 0;
            }
        }
    }

    if (a.squares != nullptr)
    {
        write_squares(a, own, of_warps, part.block);
    }
}
