// What a decoder layer does between its products: one warp, or one block of threads, a row or a head. Activations are float32 on the device; nothing here is
// large, so all of it is written for few launches and short waits, not for bandwidth.

/// A token on its way through the layers: sixteen bytes, so that one load brings all of it.
struct alignas(16) Row
{
    const u64* pages;           // addresses of the sequence's pages of keys and values
    int token;
    int position;
};

ARMOR_DEVICE Row load_row(const Row* rows, int row)
{
    Word4 words = load_input(reinterpret_cast<const Word4*>(rows + row));
    return { reinterpret_cast<const u64*>(static_cast<u64>(words.x) | static_cast<u64>(words.y) << 32), static_cast<int>(words.z), static_cast<int>(words.w) };
}

/// Arguments of what looks tokens up.
struct EmbedArguments
{
    const void* weight;         // [tokens, columns], in fragments or row by row
    const Row* rows;
    float* output;              // [rows, columns]
    int columns;
    int chunks;                 // of a tile
    float scale;
};

/// Two columns a thread: one word of the fragment that holds them.
template <class Type>
ARMOR_DEVICE void embed(const EmbedArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int column = (ARMOR_BLOCK_X * 128 + ARMOR_TID) * 2, row = ARMOR_BLOCK_Y;
    if (column >= a.columns)
    {
        return;
    }

    const int token = load_row(a.rows, row).token, in_tile = token % TileRows;
    const u64 fragment = static_cast<u64>(token / TileRows) * a.chunks * (2 * ChunkSteps) + column / 16;
    const u32* words = static_cast<const u32*>(a.weight);
    u32 two = load_input(words + (fragment * Lanes + in_tile % 8 * 4 + column % 8 / 2) * 4 + column % 16 / 8 * 2 + in_tile / 8);
    float* output = a.output + static_cast<u64>(row) * a.columns + column;
    output[0] = a.scale * unpack(Type(), static_cast<u16>(two));
    if (column + 1 < a.columns)
    {
        output[1] = a.scale * unpack(Type(), static_cast<u16>(two >> 16));
    }
}

ARMOR_DEVICE void embed_rows(const EmbedArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int column = ARMOR_BLOCK_X * 128 + ARMOR_TID, row = ARMOR_BLOCK_Y;
    if (column < a.columns)
    {
        const u64 token = load_row(a.rows, row).token;
        a.output[static_cast<u64>(row) * a.columns + column] = a.scale * load_input(static_cast<const float*>(a.weight) + token * a.columns + column);
    }
}

constexpr int NormWarps = 16;

/// The sum over a block of threads, for all of them.
ARMOR_DEVICE float sum_of_block(float value)
{
    __shared__ float sums[NormWarps];
    value = sum_of_warp(value);
    if (ARMOR_TID % Lanes == 0)
    {
        sums[ARMOR_TID / Lanes] = value;
    }

    block_barrier();
    float sum = 0;
    for (int i = 0; i < NormWarps; i++)
    {
        sum += sums[i];
    }

    block_barrier();
    return sum;
}

/// Arguments of a norm, and of what is added to the residual stream before it.
struct NormArguments
{
    float* residual;            // [rows, size]
    const float* added;         // [rows, size], or null: nothing is added
    const float* bias;          // [size], added to what is added, or null
    const float* added_norm;    // [size], the norm of what is added, or null
    const float* norm;          // [size]
    float* output;              // [rows, size]
    int size;
    float epsilon;
};

ARMOR_DEVICE float added_to(const NormArguments& a, const float* added, int i)
{
    return load_input(added + i) + (a.bias != nullptr ? load_input(a.bias + i) : 0);
}

/// A block a row. Each thread reads back only what it has written itself.
ARMOR_DEVICE void add_and_norm(const NormArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int tid = ARMOR_TID, threads = NormWarps * Lanes;
    const u64 start = static_cast<u64>(ARMOR_BLOCK_X) * a.size;
    float* residual = a.residual + start;
    const float* added = a.added + start;
    float scale = 1;
    if (a.added != nullptr && a.added_norm != nullptr)
    {
        float squares = 0;
        for (int i = tid; i < a.size; i += threads)
        {
            float value = added_to(a, added, i);
            squares += value * value;
        }

        scale = 1 / root_of(sum_of_block(squares) / a.size + a.epsilon);
    }

    float squares = 0;
    for (int i = tid; i < a.size; i += threads)
    {
        float sum = load_input(residual + i);
        if (a.added != nullptr)
        {
            float value = added_to(a, added, i);
            sum += a.added_norm != nullptr ? value * scale * load_input(a.added_norm + i) : value;
            residual[i] = sum;
        }

        squares += sum * sum;
    }

    scale = 1 / root_of(sum_of_block(squares) / a.size + a.epsilon);
    for (int i = tid; i < a.size; i += threads)
    {
        a.output[start + i] = residual[i] * scale * load_input(a.norm + i);
    }
}

/// Arguments of an MLP's middle.
struct GateArguments
{
    float* gate;                // [rows, size]; becomes act(gate + bias)·(up + bias)
    const float* up;            // [rows, size]
    const float* gate_bias;     // [size], or null
    const float* up_bias;
    int size;
    int is_gelu;                // by the approximation with tanh; else silu
};

ARMOR_DEVICE void gate(const GateArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int i = ARMOR_BLOCK_X * 256 + ARMOR_TID;
    if (i >= a.size)
    {
        return;
    }

    const u64 index = static_cast<u64>(ARMOR_BLOCK_Y) * a.size + i;
    float x = load_input(a.gate + index) + (a.gate_bias != nullptr ? load_input(a.gate_bias + i) : 0);
    float up = load_input(a.up + index) + (a.up_bias != nullptr ? load_input(a.up_bias + i) : 0);
    a.gate[index] = gated(x, up, a.is_gelu);
}

extern "C" __global__ void __launch_bounds__(128) armor_embed_bf16(EmbedArguments a) { embed<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_embed_f16(EmbedArguments a) { embed<Float16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_embed_rows(EmbedArguments a) { embed_rows(a); }
extern "C" __global__ void __launch_bounds__(512) armor_norm(NormArguments a) { add_and_norm(a); }
extern "C" __global__ void __launch_bounds__(256) armor_gate(GateArguments a) { gate(a); }
