// Attention of some rows to the past of their sequences, over pages of keys and values. A block of threads takes up to Queries queries that share a
// key/value head and a sequence (of one row, or of neighbouring rows), and a part of the positions; whoever comes last of the parts joins them. Positions
// and pages are read from the rows, so that one launch, recorded once, serves every token.

/// Arguments of attention.
struct AttentionArguments
{
    const float* queries;       // [rows, heads, size]
    float* context;             // like queries
    const Row* rows;
    float* partials;            // [items, key heads, query blocks, splits, Queries, 2 + stride]: highest score, sum of weights, weighted values
    u32* tickets;               // [items, key heads, query blocks], zero between launches
    int first_row;              // rows before it have no queries
    int end_row;
    int rows_of_item;           // rows of one sequence that go together
    int heads;
    int key_heads;
    int size;
    int stride;                 // of a position in the cache, in elements
    int layer;
    int window;                 // 0 for none
    int splits;
    float scale;
    float soft_cap;             // 0 for none
};

constexpr int AttentionThreads = 128;
constexpr int AttentionWarps = AttentionThreads / Lanes;
constexpr int MostStride = 512;
constexpr int LanesOfPosition = 8;
constexpr float LowestScore = -3.0e38f;

/// What a block of threads works on.
struct Part
{
    int first_query;            // of the item's: rows · heads of a key/value head
    int queries;
    int first_row;
    int group;
    int head;
    int from;                   // positions from the first tile's start on
    int to;
};

/// Scores of a page's positions, for all queries: eight lanes a position, sixteen bytes each at a time.
template <class Cached, int Queries>
ARMOR_DEVICE void score_tile(const AttentionArguments& a, u64 keys, int tile, int to, const float* queries, float (*scores)[PagePositions])
{
    const int tid = ARMOR_TID, lane = tid % LanesOfPosition, chunks = a.stride / Cached::Elements;
    for (int p = tid / LanesOfPosition; p < PagePositions; p += AttentionThreads / LanesOfPosition)
    {
        float sums[Queries] = {};
        if (tile * PagePositions + p < to)
        {
            const u64 key = keys + bytes_of_block<Cached>(a.stride) / PagePositions * p;
            for (int chunk = lane; chunk < chunks; chunk += LanesOfPosition)
            {
                float values[Cached::Elements];
                Cached::load(key, chunk, values);
#pragma unroll
                for (int j = 0; j < Queries; j++)
                {
#pragma unroll
                    for (int e = 0; e < Cached::Elements; e++)
                    {
                        sums[j] += values[e] * queries[j * MostStride + chunk * Cached::Elements + e];
                    }
                }
            }
        }

#pragma unroll
        for (int j = 0; j < Queries; j++)
        {
#pragma unroll
            for (u32 bits = LanesOfPosition / 2; bits > 0; bits /= 2)
            {
                sums[j] += from_lane_xor(sums[j], bits);
            }

            if (lane == 0)
            {
                scores[j][p] = a.soft_cap > 0 ? soft_capped(sums[j], a.soft_cap) : sums[j];
            }
        }
    }
}

/// Scores become weights relative to the highest score so far; what was summed before is to be multiplied by `corrections`. A warp a query.
template <int Queries>
ARMOR_DEVICE void weigh_tile(
    const AttentionArguments& a, const Part& part, int tile, float (*scores)[PagePositions], float* highest, float* totals, float* corrections)
{
    const int lane = ARMOR_TID % Lanes;
    for (int j = ARMOR_TID / Lanes; j < Queries; j += AttentionWarps)
    {
        const int row = part.first_row + (part.first_query + j) / part.group;
        const int position = load_row(a.rows, row < a.end_row ? row : a.end_row - 1).position;
        const int first_seen = a.window > 0 && position >= a.window ? position - a.window + 1 : 0;
        float own[2], best = LowestScore;
#pragma unroll
        for (int i = 0; i < 2; i++)
        {
            const int p = tile * PagePositions + lane + i * Lanes;
            own[i] = j < part.queries && p >= first_seen && p <= position ? scores[j][lane + i * Lanes] : LowestScore;
            best = own[i] > best ? own[i] : best;
        }

#pragma unroll
        for (u32 bits = Lanes / 2; bits > 0; bits /= 2)
        {
            float other = from_lane_xor(best, bits);
            best = other > best ? other : best;
        }

        const float before = highest[j];
        best = before > best ? before : best;
        float sum = 0;
#pragma unroll
        for (int i = 0; i < 2; i++)
        {
            float weight = own[i] > LowestScore ? exp_of(own[i] - best) : 0;
            scores[j][lane + i * Lanes] = weight;
            sum += weight;
        }

        sum = sum_of_warp(sum);
        if (lane == 0)
        {
            corrections[j] = before > LowestScore ? exp_of(before - best) : 0;
            totals[j] = totals[j] * corrections[j] + sum;
            highest[j] = best;
        }
    }
}

/// Where the sums of a part of the positions lie: highest score, sum of weights, then values.
ARMOR_DEVICE float* partial_of(const AttentionArguments& a, int block, int split, int queries, int query)
{
    return a.partials + ((static_cast<u64>(block) * a.splits + split) * queries + query) * (2 + a.stride);
}

/// Joins the parts of the positions, in their order.
template <int Queries>
ARMOR_DEVICE void join_parts(const AttentionArguments& a, const Part& part, int block, int splits)
{
    for (int index = ARMOR_TID; index < part.queries * a.size; index += AttentionThreads)
    {
        const int j = index / a.size, i = index % a.size;
        float highest = LowestScore;
        for (int split = 0; split < splits; split++)
        {
            float own = load_of_other_block(partial_of(a, block, split, Queries, j));
            highest = own > highest ? own : highest;
        }

        float total = 0, sum = 0;
        for (int split = 0; split < splits; split++)
        {
            const float* from = partial_of(a, block, split, Queries, j);
            float own = load_of_other_block(from);
            float weight = own > LowestScore ? exp_of(own - highest) : 0;
            total += weight * load_of_other_block(from + 1);
            sum += weight * load_of_other_block(from + 2 + i);
        }

        const int query = part.first_query + j;
        a.context[(static_cast<u64>(part.first_row + query / part.group) * a.heads + part.head * part.group + query % part.group) * a.size + i] = sum / total;
    }
}

template <class Cached, int Queries>
ARMOR_DEVICE void attention(const AttentionArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    constexpr int Elements = Cached::Elements;
    __shared__ float queries[Queries * MostStride];
    __shared__ float scores[Queries][PagePositions];
    __shared__ float highest[Queries], totals[Queries], corrections[Queries];
    __shared__ float sums_of_threads[AttentionThreads * Elements];
    const int tid = ARMOR_TID, split = ARMOR_BLOCK_Y;
    const int group = a.heads / a.key_heads;
    const int query_blocks = (a.rows_of_item * group + Queries - 1) / Queries;
    Part part;
    part.group = group;
    part.head = ARMOR_BLOCK_X / query_blocks;
    part.first_row = a.first_row + ARMOR_BLOCK_Z * a.rows_of_item;
    const int rows_here = a.end_row - part.first_row < a.rows_of_item ? a.end_row - part.first_row : a.rows_of_item;
    part.first_query = ARMOR_BLOCK_X % query_blocks * Queries;
    part.queries = rows_here * group - part.first_query < Queries ? rows_here * group - part.first_query : Queries;
    if (part.queries <= 0)
    {
        return;
    }

    // The first row sees the least of what lies behind, the last one the most of what lies ahead.
    const int first_position = load_row(a.rows, part.first_row).position;
    const Row last = load_row(a.rows, part.first_row + rows_here - 1);
    const int first_tile = a.window > 0 && first_position >= a.window ? (first_position - a.window + 1) / PagePositions : 0;
    const int tiles = last.position / PagePositions + 1 - first_tile;
    const int tiles_of_split = (tiles + a.splits - 1) / a.splits;
    const int splits = (tiles + tiles_of_split - 1) / tiles_of_split;
    if (split >= splits)
    {
        return;
    }

    part.to = last.position + 1;
    const int begin = first_tile + split * tiles_of_split;
    const int end = begin + tiles_of_split < first_tile + tiles ? begin + tiles_of_split : first_tile + tiles;
    for (int i = tid; i < Queries * a.stride; i += AttentionThreads)
    {
        const int j = i / a.stride, element = i % a.stride, query = part.first_query + j;
        float value = 0;
        if (j < part.queries && element < a.size)
        {
            value = load_input(a.queries + (static_cast<u64>(part.first_row + query / group) * a.heads + part.head * group + query % group) * a.size + element);
        }

        queries[j * MostStride + element] = value * a.scale;
    }

    for (int j = tid; j < Queries; j += AttentionThreads)
    {
        highest[j] = LowestScore;
        totals[j] = 0;
    }

    // A thread has sixteen bytes of a value, and every `lanes`-th position.
    const int chunks = a.stride / Elements, lanes = AttentionThreads / chunks;
    const int chunk = tid % chunks, own_lane = tid / chunks;
    float sums[Queries][Elements] = {};
    for (int tile = begin; tile < end; tile++)
    {
        const u64 keys = keys_in<Cached>(load_input(last.pages + tile), a.layer, a.key_heads, part.head, a.stride);
        const u64 values = keys + bytes_of_block<Cached>(a.stride);
        block_barrier();
        score_tile<Cached, Queries>(a, keys, tile, part.to, queries, scores);
        block_barrier();
        weigh_tile<Queries>(a, part, tile, scores, highest, totals, corrections);
        block_barrier();
#pragma unroll
        for (int j = 0; j < Queries; j++)
        {
#pragma unroll
            for (int e = 0; e < Elements; e++)
            {
                sums[j][e] *= corrections[j];
            }
        }

        const int here = part.to - tile * PagePositions < PagePositions ? part.to - tile * PagePositions : PagePositions;
        for (int p = own_lane; p < here && own_lane < lanes; p += lanes)
        {
            float value[Elements];
            Cached::load(values + bytes_of_block<Cached>(a.stride) / PagePositions * p, chunk, value);
#pragma unroll
            for (int j = 0; j < Queries; j++)
            {
                const float weight = scores[j][p];
#pragma unroll
                for (int e = 0; e < Elements; e++)
                {
                    sums[j][e] += weight * value[e];
                }
            }
        }
    }

    const int block = ARMOR_BLOCK_Z * ARMOR_GRID_X + ARMOR_BLOCK_X;
#pragma unroll
    for (int j = 0; j < Queries; j++)
    {
        block_barrier();
#pragma unroll
        for (int e = 0; e < Elements; e++)
        {
            sums_of_threads[tid * Elements + e] = sums[j][e];
        }

        block_barrier();
        if (j >= part.queries)
        {
            continue;
        }

        const int query = part.first_query + j;
        float* context = a.context + (static_cast<u64>(part.first_row + query / group) * a.heads + part.head * group + query % group) * a.size;
        float* partial = partial_of(a, block, split, Queries, j);
        for (int i = tid; i < a.size; i += AttentionThreads)
        {
            float sum = 0;
            for (int l = 0; l < lanes; l++)
            {
                sum += sums_of_threads[l * a.stride + i];
            }

            if (splits == 1)
            {
                context[i] = sum / totals[j];
            }
            else
            {
                partial[2 + i] = sum;
            }
        }

        if (splits > 1 && tid == 0)
        {
            partial[0] = highest[j];
            partial[1] = totals[j];
        }
    }

    if (splits == 1)
    {
        return;
    }

    __shared__ u32 ticket;
    block_barrier();
    if (tid == 0)
    {
        ticket = take_ticket(a.tickets + block, splits - 1);
    }

    block_barrier();
    if (ticket == static_cast<u32>(splits - 1))
    {
        join_parts<Queries>(a, part, block, splits);
    }
}

#define ARMOR_ATTENTION(NAME, CACHED) \
    extern "C" __global__ void __launch_bounds__(128) armor_attention_##NAME##_1(AttentionArguments a) { attention<CACHED, 1>(a); } \
    extern "C" __global__ void __launch_bounds__(128) armor_attention_##NAME##_4(AttentionArguments a) { attention<CACHED, 4>(a); } \
    extern "C" __global__ void __launch_bounds__(128) armor_attention_##NAME##_8(AttentionArguments a) { attention<CACHED, 8>(a); }

ARMOR_ATTENTION(32, Cached32)
ARMOR_ATTENTION(16, Cached16)
