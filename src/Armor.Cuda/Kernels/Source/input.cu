// x, or B·x, in the order of fragments: what every product begins with. What makes x of other vectors, a norm or an activation, happens on the way where few
// rows go through it: a launch less, for work that is done once more by each warp that reads x.

/// Arguments of what makes the input of a product.
struct InputArguments
{
    const Word4* first_wrapper; // B of each part: [row tiles, wrapper_steps, 32 lanes]
    const Word4* second_wrapper;
    const Word4* third_wrapper;
    const float* input;         // [batch, columns]
    const float* up;            // [batch, columns]; where there is one, x is act(input + bias)·(up + bias)
    const float* gate_bias;     // [columns], or null
    const float* up_bias;
    const float* norm;          // [columns]; where there is one, x is the input's norm
    const float* squares;       // [batch, square_blocks], sums of squares of parts of the input
    const ExpertEight* eights;  // inputs are slots; null where there are no experts
    const Selected* slots;      // of which row a slot's input is; null for slots that have inputs of their own
    const u64* expert_wrappers; // [experts, 3 parts], B, in place of the parts' own
    u16* output;                // [parts] of steps for all inputs
    u64 output_stride;          // from part to part, in halves
    int columns;
    int steps;                  // of the output, the last ones may reach beyond the columns
    int batch;
    int wrapper_steps;          // block size of B / 16
    int is_gelu;                // by the approximation with tanh; else silu
    int square_blocks;
    float epsilon;
};

/// x·sigmoid(y): silu(x) where y is x.
ARMOR_DEVICE float times_sigmoid(float x, float y) { return x / (1 + exp_of(-y)); }

/// act(gate)·up. gelu(x) = x/2·(1 + tanh u) = x·sigmoid(2u), u = √(2/π)·(x + 0.044715·x³).
ARMOR_DEVICE float gated(float gate, float up, int is_gelu)
{
    return times_sigmoid(gate, is_gelu ? 2 * 0.7978845608028654f * (gate + 0.044715f * gate * gate * gate) : gate) * up;
}

/// Eight inputs as a warp sees them; a lane has the one of its g.
struct EightInputs
{
    u64 start;                  // of the lane's input
    bool is_there;              // for the lane's input
    int expert;
};

/// Which eight inputs a block of threads has; false for none. Whatever is read from memory is known only when the kernel before has ended.
ARMOR_DEVICE bool take_inputs(const InputArguments& a, int group, int g, EightInputs& own)
{
    if (a.eights == nullptr)
    {
        const int input = group * 8 + g;
        own = { static_cast<u64>(input < a.batch ? input : 0) * a.columns, input < a.batch, 0 };
        return true;
    }

    wait_for_previous_grid();
    const ExpertEight eight = load_eight(a.eights + group);
    if (eight.count == 0)
    {
        return false;
    }

    const int slot = eight.first_slot + (g < eight.count ? g : 0);
    own = { static_cast<u64>(a.slots != nullptr ? load_selected(a.slots + slot).row : slot) * a.columns, g < eight.count, eight.expert };
    return true;
}

/// 1 / the root of the mean square of the lane's input. All lanes take part; those of one g have one input.
ARMOR_DEVICE float norm_scale(const InputArguments& a, const EightInputs& own, int t)
{
    const float* squares = a.squares + own.start / a.columns * a.square_blocks;
    float sum = 0;
    for (int i = t; i < a.square_blocks; i += 4)
    {
        sum += load_input(squares + i);
    }

    sum += from_lane_xor(sum, 1);
    sum += from_lane_xor(sum, 2);
    return 1 / root_of(sum / a.columns + a.epsilon);
}

/// What is loaded for a column: two floats of neighbouring columns, or one.
ARMOR_DEVICE Float2 load_column(const float* from, Float2) { return load_input(reinterpret_cast<const Float2*>(from)); }
ARMOR_DEVICE float load_column(const float* from, float) { return load_input(from); }
ARMOR_DEVICE Float2 sum_of(Float2 x, Float2 y) { return { x.x + y.x, x.y + y.y }; }
ARMOR_DEVICE float sum_of(float x, float y) { return x + y; }
ARMOR_DEVICE Float2 normed(Float2 x, float scale, Float2 norm) { return { x.x * scale * norm.x, x.y * scale * norm.y }; }
ARMOR_DEVICE float normed(float x, float scale, float norm) { return x * scale * norm; }
ARMOR_DEVICE Float2 gated(Float2 gate, Float2 up, int is_gelu) { return { gated(gate.x, up.x, is_gelu), gated(gate.y, up.y, is_gelu) }; }

/// Columns column_of(0) and so on of x, or nothing where there is no input or no such column. All loads of a kind go out together.
template <class Value, int Count, class ColumnOf>
ARMOR_DEVICE void load_columns(const float* from, const ColumnOf& column_of, Value (&values)[Count])
{
#pragma unroll
    for (int i = 0; i < Count; i++)
    {
        const int column = column_of(i);
        if (column >= 0)
        {
            values[i] = load_column(from + column, Value());
        }
    }
}

template <class Value, int Count, class ColumnOf>
ARMOR_DEVICE void make_inputs(const InputArguments& a, const EightInputs& own, int t, const ColumnOf& column_of, Value (&x)[Count])
{
    load_columns(a.input + own.start, column_of, x);
    if (a.norm != nullptr)
    {
        Value norm[Count] = {};
        load_columns(a.norm, column_of, norm);
        const float scale = norm_scale(a, own, t);
#pragma unroll
        for (int i = 0; i < Count; i++)
        {
            x[i] = normed(x[i], scale, norm[i]);
        }
    }
    else if (a.up != nullptr)
    {
        Value up[Count] = {};
        load_columns(a.up + own.start, column_of, up);
        if (a.gate_bias != nullptr)
        {
            Value bias[Count] = {};
            load_columns(a.gate_bias, column_of, bias);
#pragma unroll
            for (int i = 0; i < Count; i++)
            {
                x[i] = sum_of(x[i], bias[i]);
            }
        }

        if (a.up_bias != nullptr)
        {
            Value bias[Count] = {};
            load_columns(a.up_bias, column_of, bias);
#pragma unroll
            for (int i = 0; i < Count; i++)
            {
                up[i] = sum_of(up[i], bias[i]);
            }
        }

#pragma unroll
        for (int i = 0; i < Count; i++)
        {
            x[i] = gated(x[i], up[i], a.is_gelu);
        }
    }
}

/// B of a part.
ARMOR_DEVICE const Word4* own_wrapper(const InputArguments& a, int part, int expert)
{
    if (a.expert_wrappers != nullptr)
    {
        return load_address(a.expert_wrappers + expert * 3 + part);
    }

    const Word4* wrappers = in_register(a.first_wrapper);
    if (part > 0)
    {
        wrappers = part == 1 ? in_register(a.second_wrapper) : in_register(a.third_wrapper);
    }

    return wrappers;
}

/// B·x into steps, for each part. A warp makes sixteen columns for eight inputs; beyond the last column it makes zeros.
template <class Type>
ARMOR_DEVICE void input_product(const InputArguments& a)
{
    let_next_grid_begin();
    const int tid = ARMOR_TID, lane = tid % Lanes, g = lane / 4, t = lane % 4;
    const int tile = ARMOR_BLOCK_X * 2 + tid / Lanes, group = ARMOR_BLOCK_Y, part = ARMOR_BLOCK_Z;
    EightInputs own;
    if (tile >= a.steps * 2 || !take_inputs(a, group, g, own))
    {
        return;
    }

    float sums[4] = {};
    const bool is_inside = tile * TileRows < a.columns;
    const int first = tile / (a.wrapper_steps > 0 ? a.wrapper_steps : 1) * a.wrapper_steps * TileRows + 2 * t;
    const Word4* wrapper = own_wrapper(a, part, own.expert) + static_cast<u64>(tile) * a.wrapper_steps * Lanes + lane;
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

        Float2 x[16] = {};
        make_inputs(a, own, t, [&](int i) { return own.is_there && start + i / 2 < a.wrapper_steps ? first + start * 16 + i * 8 : -1; }, x);
#pragma unroll
        for (int j = 0; j < 8; j++)
        {
            if (start + j < a.wrapper_steps)
            {
                multiply_dense(Type(), sums, values[j], pack(Type(), x[2 * j].x, x[2 * j].y), pack(Type(), x[2 * j + 1].x, x[2 * j + 1].y));
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
    const int step = index / Lanes, g = index % Lanes / 4, t = index % 4;
    EightInputs own;
    if (index >= a.steps * Lanes || !take_inputs(a, group, g, own))
    {
        return;
    }

    const int first = step * StepColumns + 2 * t;
    float x[8] = {};
    make_inputs(a, own, t, [&](int i) { return own.is_there && first + i / 2 * 8 + i % 2 < a.columns ? first + i / 2 * 8 + i % 2 : -1; }, x);
    Word4 packed = { pack(Type(), x[0], x[1]), pack(Type(), x[2], x[3]), pack(Type(), x[4], x[5]), pack(Type(), x[6], x[7]) };
    reinterpret_cast<Word4*>(a.output)[static_cast<u64>(group) * a.steps * Lanes + index] = packed;
}

extern "C" __global__ void __launch_bounds__(64) armor_input_bf16(InputArguments a) { input_product<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(64) armor_input_f16(InputArguments a) { input_product<Float16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_arrange_bf16(InputArguments a) { arrange<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_arrange_f16(InputArguments a) { arrange<Float16>(a); }
