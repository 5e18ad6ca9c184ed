// Queries, keys and values on their way to attention, and how keys and values lie in memory.

/// cap·tanh(x / cap).
ARMOR_DEVICE float soft_capped(float x, float cap) { return cap * (1 - 2 / (1 + exp_of(x * (2 / cap)))); }

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

extern "C" __global__ void __launch_bounds__(128) armor_heads_32(HeadArguments a) { prepare_heads<Cached32>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_heads_16(HeadArguments a) { prepare_heads<Cached16>(a); }
