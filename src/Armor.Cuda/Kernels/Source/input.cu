// x, or B·x, in the order of fragments: what every product begins with.

/// Arguments of what makes the input of a product.
struct InputArguments
{
    const Word4* first_wrapper; // B of each part: [row tiles, wrapper_steps, 32 lanes]
    const Word4* second_wrapper;
    const Word4* third_wrapper;
    const float* input;         // [batch, columns]
    u16* output;                // [parts] of steps for all inputs
    u64 output_stride;          // from part to part, in halves
    int columns;
    int steps;                  // of the output, the last ones may reach beyond the columns
    int batch;
    int wrapper_steps;          // block size of B / 16
};

/// B·x into steps, for each part. A warp makes sixteen columns for eight inputs; beyond the last column it makes zeros.
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
    const int part = ARMOR_BLOCK_Z;
    const Word4* wrappers = in_register(a.first_wrapper);
    if (part > 0)
    {
        wrappers = part == 1 ? in_register(a.second_wrapper) : in_register(a.third_wrapper);
    }

    const Word4* wrapper = wrappers + static_cast<u64>(tile) * a.wrapper_steps * Lanes + lane;
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
        a.output[part * a.output_stride + place_in_steps(column, input, a.steps)] = static_cast<u16>(pack(Type(), sums[i], 0));
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

extern "C" __global__ void __launch_bounds__(64) armor_input_bf16(InputArguments a) { input_product<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(64) armor_input_f16(InputArguments a) { input_product<Float16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_arrange_bf16(InputArguments a) { arrange<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_arrange_f16(InputArguments a) { arrange<Float16>(a); }
