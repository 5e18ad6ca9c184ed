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

/// x·sigmoid(y): silu(x) where y is x.
ARMOR_DEVICE float times_sigmoid(float x, float y) { return x / (1 + exp_of(-y)); }

/// cap·tanh(x / cap).
ARMOR_DEVICE float soft_capped(float x, float cap) { return cap * (1 - 2 / (1 + exp_of(x * (2 / cap)))); }

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

/// Keys and values as float32.
struct Cached32
{
    static constexpr int Elements = 4; // in sixteen bytes
    static ARMOR_DEVICE void store(u64 block, int index, float value) { reinterpret_cast<float*>(block)[index] = value; }

    static ARMOR_DEVICE void load(u64 block, int chunk, float (&values)[4])
    {
        Word4 words = load_input(reinterpret_cast<const Word4*>(block) + chunk);
        values[0] = bits_to_float(words.x);
        values[1] = bits_to_float(words.y);
        values[2] = bits_to_float(words.z);
        values[3] = bits_to_float(words.w);
    }
};

/// Keys and values as float16.
struct Cached16
{
    static constexpr int Elements = 8;
    static ARMOR_DEVICE void store(u64 block, int index, float value) { reinterpret_cast<u16*>(block)[index] = static_cast<u16>(pack(Float16(), value, 0)); }

    static ARMOR_DEVICE void load(u64 block, int chunk, float (&values)[8])
    {
        Word4 words = load_input(reinterpret_cast<const Word4*>(block) + chunk);
        load_two(words.x, values[0], values[1]);
        load_two(words.y, values[2], values[3]);
        load_two(words.z, values[4], values[5]);
        load_two(words.w, values[6], values[7]);
    }

private:
    static ARMOR_DEVICE void load_two(u32 word, float& low, float& high)
    {
        low = unpack(Float16(), static_cast<u16>(word));
        high = unpack(Float16(), static_cast<u16>(word >> 16));
    }
};

/// Positions in a page. In a page, for each layer and key/value head: keys [positions, stride], then values like them.
constexpr int PagePositions = 64;

/// Bytes of one layer's and head's keys, or values, in a page.
template <class Cached>
ARMOR_DEVICE u64 bytes_of_block(int stride) { return static_cast<u64>(PagePositions) * stride * (16 / Cached::Elements); }

/// Where one layer's and head's keys in a page begin.
template <class Cached>
ARMOR_DEVICE u64 keys_in(u64 page, int layer, int heads, int head, int stride)
{
    return page + (static_cast<u64>(layer) * heads + head) * 2 * bytes_of_block<Cached>(stride);
}

/// Arguments of what happens to queries, keys and values before attention.
struct HeadArguments
{
    float* queries;             // [rows, heads, size], changed in place
    const float* keys;          // [rows, key heads, size]
    const float* values;        // [rows, key heads, size]
    const float* query_bias;    // [heads, size], or null; and so on
    const float* key_bias;
    const float* value_bias;
    const float* query_norm;    // [size], or null
    const float* key_norm;
    const Row* rows;
    const Float2* rotations;    // [rows, half], cosine and sine
    int first_query;            // rows before it have no queries
    int heads;
    int key_heads;
    int size;
    int half;                   // pairs that are rotated
    int stride;                 // of a position in the cache, in elements
    int layer;
    float epsilon;
};

/// One head of a row, of queries (kind 0), keys (1) or values (2): bias, norm and rotation. A lane has every 32nd element.
template <class Cached, int Kind>
ARMOR_DEVICE void prepare_head(const HeadArguments& a, const float* from, float* query, const float* bias, const float* norm, int row, int head)
{
    const int lane = ARMOR_TID % Lanes;
    bias += bias != nullptr ? head * a.size : 0;
    float scale = 1;
    if (Kind < 2 && norm != nullptr)
    {
        float squares = 0;
        for (int i = lane; i < a.size; i += Lanes)
        {
            float value = load_input(from + i) + (bias != nullptr ? load_input(bias + i) : 0);
            squares += value * value;
        }

        scale = 1 / root_of(sum_of_warp(squares) / a.size + a.epsilon);
    }

    u64 to = 0;
    if (Kind > 0)
    {
        const Row own = load_row(a.rows, row);
        const u64 page = load_input(own.pages + own.position / PagePositions);
        to = keys_in<Cached>(page, a.layer, a.key_heads, head, a.stride) + (Kind == 2 ? bytes_of_block<Cached>(a.stride) : 0)
            + bytes_of_block<Cached>(a.stride) / PagePositions * (own.position % PagePositions);
    }

    const int half = Kind == 2 ? 0 : a.half;
    for (int i = lane; i < a.stride - half; i += Lanes)
    {
        // The first half of a pair takes the second with it; beyond the pairs, and for values, each element stands for itself. Then comes padding.
        const int first = i < half ? i : i + half;
        float values[2];
#pragma unroll
        for (int e = 0; e < 2; e++)
        {
            const int place = first + e * half;
            const bool is_there = place < a.size && (e == 0 || i < half);
            values[e] = is_there ? load_input(from + place) + (bias != nullptr ? load_input(bias + place) : 0) : 0;
            values[e] *= Kind < 2 && norm != nullptr && is_there ? scale * load_input(norm + place) : 1;
        }

        if (i < half)
        {
            const Float2 turn = load_input(a.rotations + static_cast<u64>(row) * a.half + i);
            const float x = values[0], y = values[1];
            values[0] = x * turn.x - y * turn.y;
            values[1] = y * turn.x + x * turn.y;
        }

#pragma unroll
        for (int e = 0; e < 2; e++)
        {
            const int place = first + e * half;
            if (e == 0 || i < half)
            {
                if (Kind > 0)
                {
                    Cached::store(to, place, values[e]);
                }
                else if (place < a.size)
                {
                    query[place] = values[e];
                }
            }
        }
    }
}

/// A warp a head of a row. Queries stay where they are; keys and values go to the cache.
template <class Cached>
ARMOR_DEVICE void prepare_heads(const HeadArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int row = ARMOR_BLOCK_Y, index = ARMOR_BLOCK_X * 4 + ARMOR_TID / Lanes;
    if (index < a.heads)
    {
        if (row >= a.first_query)
        {
            float* query = a.queries + (static_cast<u64>(row) * a.heads + index) * a.size;
            prepare_head<Cached, 0>(a, query, query, a.query_bias, a.query_norm, row, index);
        }
    }
    else if (index < a.heads + a.key_heads)
    {
        const int head = index - a.heads;
        prepare_head<Cached, 1>(a, a.keys + (static_cast<u64>(row) * a.key_heads + head) * a.size, nullptr, a.key_bias, a.key_norm, row, head);
    }
    else if (index < a.heads + 2 * a.key_heads)
    {
        const int head = index - a.heads - a.key_heads;
        prepare_head<Cached, 2>(a, a.values + (static_cast<u64>(row) * a.key_heads + head) * a.size, nullptr, a.value_bias, nullptr, row, head);
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

    // gelu(x) = x/2·(1 + tanh u) = x·sigmoid(2u), u = √(2/π)·(x + 0.044715·x³).
    float y = a.is_gelu ? 2 * 0.7978845608028654f * (x + 0.044715f * x * x * x) : x;
    a.gate[index] = times_sigmoid(x, y) * up;
}

/// The highest logit of a part of a row, or of the row.
struct alignas(16) Candidate
{
    float value;
    int token;
    int bad;                    // the first token whose logit is no finite number; −1 for none
    int unused;
};

/// Arguments of what finishes logits.
struct LogitArguments
{
    float* logits;              // [rows, tokens], changed where there is a cap
    Candidate* parts;           // [rows, blocks of a row]
    u32* tickets;               // [rows], zero between launches
    Candidate* chosen;          // [rows]
    int tokens;
    float soft_cap;             // 0 for none
};

constexpr int LogitThreads = 256;
constexpr int LogitsOfBlock = 16 * LogitThreads;

/// The better of two: of equals the first, and of bad tokens the first.
ARMOR_DEVICE Candidate better(Candidate a, Candidate b)
{
    bool is_first = a.value > b.value || (a.value == b.value && a.token < b.token);
    int bad = a.bad < 0 || (b.bad >= 0 && b.bad < a.bad) ? b.bad : a.bad;
    return { is_first ? a.value : b.value, is_first ? a.token : b.token, bad, 0 };
}

/// The best of a block of threads, known to the first of them.
ARMOR_DEVICE Candidate best_of_block(Candidate own)
{
    __shared__ Candidate all[LogitThreads];
    const int tid = ARMOR_TID;
    all[tid] = own;
    for (int count = LogitThreads / 2; count > 0; count /= 2)
    {
        block_barrier();
        if (tid < count)
        {
            all[tid] = better(all[tid], all[tid + count]);
        }
    }

    block_barrier();
    return all[0];
}

ARMOR_DEVICE void finish_logits(const LogitArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int tid = ARMOR_TID, row = ARMOR_BLOCK_Y, blocks = ARMOR_GRID_X;
    float* logits = a.logits + static_cast<u64>(row) * a.tokens;
    const Candidate none = { -3.4028235e38f, 0x7fffffff, -1, 0 };
    Candidate best = none;
    for (int i = 0; i < LogitsOfBlock; i += LogitThreads)
    {
        int token = ARMOR_BLOCK_X * LogitsOfBlock + i + tid;
        if (token >= a.tokens)
        {
            break;
        }

        float logit = load_input(logits + token);
        if (a.soft_cap > 0)
        {
            logit = soft_capped(logit, a.soft_cap);
            logits[token] = logit;
        }

        bool is_finite = (float_to_bits(logit) & 0x7f800000u) != 0x7f800000u;
        best = better(best, is_finite ? Candidate{ logit, token, -1, 0 } : Candidate{ none.value, none.token, token, 0 });
    }

    best = best_of_block(best);
    Candidate* parts = a.parts + static_cast<u64>(row) * blocks;
    __shared__ u32 ticket;
    if (tid == 0)
    {
        parts[ARMOR_BLOCK_X] = best;
        device_fence();
        ticket = take_ticket(a.tickets + row, blocks - 1);
    }

    block_barrier();
    if (ticket != static_cast<u32>(blocks - 1))
    {
        return;
    }

    device_fence();
    best = none;
    for (int i = tid; i < blocks; i += LogitThreads)
    {
        Word4 words = load_of_other_block(reinterpret_cast<const Word4*>(parts + i));
        best = better(best, { bits_to_float(words.x), static_cast<int>(words.y), static_cast<int>(words.z), 0 });
    }

    block_barrier(); // what best_of_block has written is read no more
    best = best_of_block(best);
    if (tid == 0)
    {
        a.chosen[row] = best;
    }
}

extern "C" __global__ void __launch_bounds__(128) armor_embed_bf16(EmbedArguments a) { embed<BFloat16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_embed_f16(EmbedArguments a) { embed<Float16>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_embed_rows(EmbedArguments a) { embed_rows(a); }
extern "C" __global__ void __launch_bounds__(512) armor_norm(NormArguments a) { add_and_norm(a); }
extern "C" __global__ void __launch_bounds__(128) armor_heads_32(HeadArguments a) { prepare_heads<Cached32>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_heads_16(HeadArguments a) { prepare_heads<Cached16>(a); }
extern "C" __global__ void __launch_bounds__(256) armor_gate(GateArguments a) { gate(a); }
extern "C" __global__ void __launch_bounds__(256) armor_logits(LogitArguments a) { finish_logits(a); }
