// y = A·(S·(B·x)) for many inputs, over the same fragments as for few: no second form of the weights. What limits is no longer the memory that weights are read
// from but how often a warp loads operands for each mma, so a warp keeps the sums of up to 32 rows and 64 inputs: a weight's fragment serves eight
// of the inputs' and an input's fragment two of the weight's. Columns are not split: rows and inputs fill the card.

constexpr int LargeTiles = 8; // of eight inputs

/// Tiles of sixteen rows a warp. A dense chunk alone takes 64 registers.
template <class Form>
ARMOR_DEVICE constexpr int row_tiles_of() { return Form::IsFetchedAhead ? 2 : 1; }

/// One step: each fragment of the inputs serves all row tiles.
template <class Form, int RowTiles, int Step>
ARMOR_DEVICE void multiply_large_steps(
    const typename Form::Chunk (&chunks)[RowTiles], const Word4* input, int tile_stride, const bool (&has_input)[LargeTiles], float (&sums)[RowTiles][LargeTiles][4])
{
    if constexpr (Step < ChunkSteps)
    {
#pragma unroll
        for (int i = 0; i < LargeTiles; i++)
        {
            Word4 own = { 0, 0, 0, 0 };
            if (has_input[i])
            {
                own = load_input(input + i * tile_stride + Step * Lanes);
            }

#pragma unroll
            for (int r = 0; r < RowTiles; r++)
            {
                Form::template multiply<Step>(chunks[r], own, sums[r][i]);
            }
        }

        multiply_large_steps<Form, RowTiles, Step + 1>(chunks, input, tile_stride, has_input, sums);
    }
}

template <class Form, int RowTiles>
ARMOR_DEVICE void multiply_large_chunk(
    const typename Form::Chunk (&chunks)[RowTiles], const Word4* input, int tile_stride, const bool (&has_input)[LargeTiles], float (&sums)[RowTiles][LargeTiles][4])
{
    if constexpr (Form::IsScaled)
    {
        float of_chunk[RowTiles][LargeTiles][4] = {};
        multiply_large_steps<Form, RowTiles, 0>(chunks, input, tile_stride, has_input, of_chunk);
#pragma unroll
        for (int r = 0; r < RowTiles; r++)
        {
#pragma unroll
            for (int i = 0; i < LargeTiles; i++)
            {
                Form::add_scaled(chunks[r], sums[r][i], of_chunk[r][i]);
            }
        }
    }
    else
    {
        multiply_large_steps<Form, RowTiles, 0>(chunks, input, tile_stride, has_input, sums);
    }
}

/// A times the sums of the block's rows, which are rounded to the weight's type as inputs of the next matrix always are.
template <class Type, int RowTiles>
ARMOR_DEVICE void apply_large_wrapper(const ProductArguments& a, const OwnPart& part, float (&sums)[RowTiles][LargeTiles][4])
{
    constexpr int Steps = BlockTiles * RowTiles * TileRows / StepColumns;
    __shared__ Word4 sums_in_steps[LargeTiles * Steps * Lanes];
    u16* halves = reinterpret_cast<u16*>(sums_in_steps);
    const int lane = ARMOR_TID % Lanes, warp = ARMOR_TID / Lanes;
#pragma unroll
    for (int i = 0; i < RowTiles * LargeTiles * 4; i++)
    {
        const int r = i / (LargeTiles * 4), tile = i / 4 % LargeTiles, j = i % 4;
        const int row = (warp * RowTiles + r) * TileRows + lane / 4 + j / 2 * 8;
        const int input = tile * 8 + lane % 4 * 2 + j % 2;
        halves[place_in_steps(row, input, Steps)] = static_cast<u16>(pack(Type(), sums[r][tile][j], 0));
        sums[r][tile][j] = 0;
    }

    block_barrier();
#pragma unroll
    for (int r = 0; r < RowTiles; r++)
    {
        const int in_block = warp * RowTiles + r, tile = part.block * BlockTiles * RowTiles + in_block;
        const int first_half = in_block / a.wrapper_steps * a.wrapper_steps;
        for (int j = 0; tile * TileRows < part.rows && j < a.wrapper_steps; j++)
        {
            const Word4 values = load_stream(part.wrapper + (static_cast<u64>(tile) * a.wrapper_steps + j) * Lanes + lane);
            const int half = first_half + j;
#pragma unroll
            for (int i = 0; i < LargeTiles; i++)
            {
                const Word4 input = sums_in_steps[(i * Steps + half / 2) * Lanes + lane];
                multiply_dense(Type(), sums[r][i], values, half % 2 == 0 ? input.x : input.z, half % 2 == 0 ? input.y : input.w);
            }
        }
    }
}

/// A block of threads: 128 rows or 256, and 64 inputs. Neighbouring blocks have the same rows, so that a weight comes from memory once for all inputs.
template <class Form>
ARMOR_DEVICE void large_product(const ProductArguments& a)
{
    let_next_grid_begin();
    constexpr int RowTiles = row_tiles_of<Form>();
    const int lane = ARMOR_TID % Lanes, warp = ARMOR_TID / Lanes;
    OwnPart part = own_part(a, ARMOR_BLOCK_Y);
    const int first_input = ARMOR_BLOCK_X * LargeTiles * 8;
    OwnInputs own = { static_cast<int>(ARMOR_BLOCK_X) * LargeTiles, first_input, a.batch - first_input };
    wait_for_previous_grid();
    if (a.experts != nullptr)
    {
        own = take_expert(a, ARMOR_BLOCK_Z, part);
        own = { own.first_eight + static_cast<int>(ARMOR_BLOCK_X) * LargeTiles, own.first + first_input, own.count - first_input };
        if (own.count <= 0)
        {
            return;
        }
    }

    const int first_tile = (part.block * BlockTiles + warp) * RowTiles;
    const int tile_stride = a.chunks * ChunkSteps * Lanes;
    const Word4* input = a.input + part.index * a.input_stride + static_cast<u64>(own.first_eight) * tile_stride + lane;
    bool has_input[LargeTiles];
#pragma unroll
    for (int i = 0; i < LargeTiles; i++)
    {
        has_input[i] = i * 8 + lane / 4 < own.count;
    }

    float sums[RowTiles][LargeTiles][4] = {};
    if (first_tile * TileRows < part.rows)
    {
        for (int chunk = 0; chunk < a.chunks; chunk++)
        {
            typename Form::Chunk chunks[RowTiles];
#pragma unroll
            for (int r = 0; r < RowTiles; r++)
            {
                // Beyond the last tile the one before stands in; nothing of it is written.
                const int tile = (first_tile + r) * TileRows < part.rows ? first_tile + r : first_tile;
                chunks[r] = Form::load(part.weight, static_cast<u64>(tile) * a.chunks + chunk, lane);
            }

            multiply_large_chunk<Form, RowTiles>(chunks, input, tile_stride, has_input, sums);
            input += ChunkSteps * Lanes;
        }
    }

    if (a.wrapper_steps > 0)
    {
        apply_large_wrapper<typename Form::Element, RowTiles>(a, part, sums);
    }

#pragma unroll
    for (int i = 0; i < RowTiles * LargeTiles * 4; i++)
    {
        const int r = i / (LargeTiles * 4), tile = i / 4 % LargeTiles, j = i % 4;
        const int row = (first_tile + r) * TileRows + lane / 4 + j / 2 * 8;
        const int input_here = tile * 8 + lane % 4 * 2 + j % 2;
        if (row < part.rows && input_here < own.count)
        {
            part.output[static_cast<u64>(own.first + input_here) * part.rows + row] = sums[r][tile][j];
        }
    }
}

#define ARMOR_LARGE_PRODUCT(NAME, FORM, TYPE) \
    extern "C" __global__ void __launch_bounds__(256, 1) NAME##_64(ProductArguments a) { large_product<FORM<TYPE>>(a); }

ARMOR_LARGE_PRODUCT(armor_sparse_bf16, SparseForm, BFloat16)
ARMOR_LARGE_PRODUCT(armor_sparse_f16, SparseForm, Float16)
ARMOR_LARGE_PRODUCT(armor_int8_bf16, Int8Form, BFloat16)
ARMOR_LARGE_PRODUCT(armor_int8_f16, Int8Form, Float16)
ARMOR_LARGE_PRODUCT(armor_dense_bf16, DenseForm, BFloat16)
ARMOR_LARGE_PRODUCT(armor_dense_f16, DenseForm, Float16)
