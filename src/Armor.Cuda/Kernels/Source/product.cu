// y = A·(S·(B·x)) for up to sixteen inputs at a time, bound by the memory that the weights are read from. A launch here; what brings x into order is
// in input.cu, what becomes of the sums in finish.cuh.

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

/// One block of threads: 128 rows, a warp each sixteen, and one of the splits of the columns. The last block of a row block adds up, applies A and writes.
template <class Form, int Tiles>
ARMOR_DEVICE void product(const ProductArguments& a)
{
    let_next_grid_begin();
    const int tid = ARMOR_TID, lane = tid % Lanes, warp = tid / Lanes;
    const int block = ARMOR_BLOCK_X, split = ARMOR_BLOCK_Y, group = ARMOR_BLOCK_Z;
    OwnPart part = own_part(a, block);
    OwnInputs own = { group * Tiles, group * Tiles * 8, a.batch - group * Tiles * 8 };
    if (a.experts != nullptr)
    {
        wait_for_previous_grid();
        own = take_expert(a, group, part);
        if (own.count == 0)
        {
            return;
        }
    }

    own.count = own.count < Tiles * 8 ? own.count : Tiles * 8;
    const int tile = part.block * BlockTiles + warp;
    const int first = static_cast<u32>(a.chunks) * split / static_cast<u32>(a.splits);
    const int last = static_cast<u32>(a.chunks) * (split + 1) / static_cast<u32>(a.splits);
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
        const Word4* input = a.input + part.index * a.input_stride + static_cast<u64>(own.first_eight) * tile_stride + first * ChunkSteps * Lanes + lane;
        bool has_input[Tiles];
#pragma unroll
        for (int i = 0; i < Tiles; i++)
        {
            has_input[i] = i * 8 + lane / 4 < own.count;
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
        apply_wrapper<typename Form::Element, Tiles>(a, part, partials, own, rows_here);
        return;
    }

    write_sums<Tiles>(a, part, partials, own, rows_here);
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
