// What products are told, and what of it a block of threads has.

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
    const ExpertWeight* experts; // [experts, 3 parts], in place of the parts' own weights; null where there are no experts
    const ActiveExpert* active; // whose inputs and outputs lie in slots; takes the place of groups of inputs
    float* squares;             // [batch, row blocks]; where there is one, results and bias are added to the one output, and sums of squares written here
    const float* bias;          // [rows], or null
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

/// Inputs that a block of threads multiplies.
struct OwnInputs
{
    int first_eight;            // where they lie in steps
    int first;                  // where results go
    int count;
};

/// Puts an expert's weight in a part's place. Known only when the kernel before has ended.
ARMOR_DEVICE OwnInputs take_expert(const ProductArguments& a, int index, OwnPart& part)
{
    const ActiveExpert active = load_active(a.active + index);
    const u64* weight = reinterpret_cast<const u64*>(a.experts + active.expert * 3 + part.index);
    part.weight = load_address(weight);
    part.wrapper = load_address(weight + 1);
    return { active.first_eight, active.first_slot, active.count };
}
