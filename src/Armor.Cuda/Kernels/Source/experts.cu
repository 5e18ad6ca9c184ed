// What is a mixture of experts' own: rows of activations are gathered for each expert, and what it makes of them is added where they came from.

/// A row that goes through an expert.
struct alignas(8) Selected
{
    int row;
    float weight;
};

/// Arguments of gathering rows, and of adding them back.
struct SelectArguments
{
    const Selected* selected;   // [rows of the expert]
    const float* from;          // [rows, size], or [rows of the expert, size]
    const float* bias;          // [size], added to what is added back, or null
    float* to;
    int size;
    int is_added;               // to[row] += weight·(from[i] + bias) in place of to[i] = from[row]
};

ARMOR_DEVICE void select_rows(const SelectArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int column = ARMOR_BLOCK_X * 256 + ARMOR_TID, i = ARMOR_BLOCK_Y;
    if (column >= a.size)
    {
        return;
    }

    const Float2 words = load_input(reinterpret_cast<const Float2*>(a.selected + i));
    const u64 in_rows = static_cast<u64>(float_to_bits(words.x)) * a.size + column, in_own = static_cast<u64>(i) * a.size + column;
    if (a.is_added)
    {
        const float value = load_input(a.from + in_own) + (a.bias != nullptr ? load_input(a.bias + column) : 0);
        a.to[in_rows] = load_input(a.to + in_rows) + words.y * value;
    }
    else
    {
        a.to[in_own] = load_input(a.from + in_rows);
    }
}

extern "C" __global__ void __launch_bounds__(256) armor_select(SelectArguments a) { select_rows(a); }
