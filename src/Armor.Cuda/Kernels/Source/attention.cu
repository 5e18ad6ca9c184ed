// Attention of few queries: up to eight share a block of threads. What limits is reading keys and values, so that sums are in float32.

constexpr int MostStride = 512;
constexpr int LanesOfPosition = 8;

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
        const int position = row_of_query(a, part, j).position, first = first_seen(a, position);
        float own[2], best = LowestScore;
#pragma unroll
        for (int i = 0; i < 2; i++)
        {
            const int p = tile * PagePositions + lane + i * Lanes;
            own[i] = j < part.queries && p >= first && p <= position ? scores[j][lane + i * Lanes] : LowestScore;
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
    Part part;
    if (!take_part(a, Queries, part))
    {
        return;
    }

    for (int i = tid; i < Queries * a.stride; i += AttentionThreads)
    {
        const int j = i / a.stride, element = i % a.stride;
        float value = 0;
        if (j < part.queries && element < a.size)
        {
            value = load_input(a.queries + place_of_query(a, part, j) + element);
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
    for (int tile = part.begin; tile < part.end; tile++)
    {
        const u64 keys = keys_in<Cached>(load_input(part.pages + tile), a.layer, a.key_heads, part.head, a.stride);
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

        float* context = a.context + place_of_query(a, part, j);
        float* partial = partial_of(a, block, split, Queries, j);
        for (int i = tid; i < a.size; i += AttentionThreads)
        {
            float sum = 0;
            for (int l = 0; l < lanes; l++)
            {
                sum += sums_of_threads[l * a.stride + i];
            }

            if (part.splits == 1)
            {
                context[i] = sum / totals[j];
            }
            else
            {
                partial[2 + i] = sum;
            }
        }

        if (part.splits > 1 && tid == 0)
        {
            partial[0] = highest[j];
            partial[1] = totals[j];
        }
    }

    if (part.splits > 1)
    {
        finish_parts<Queries>(a, part, block);
    }
}

#define ARMOR_ATTENTION(NAME, CACHED) \
    extern "C" __global__ void __launch_bounds__(128) armor_attention_##NAME##_1(AttentionArguments a) { attention<CACHED, 1>(a); } \
    extern "C" __global__ void __launch_bounds__(128) armor_attention_##NAME##_4(AttentionArguments a) { attention<CACHED, 4>(a); } \
    extern "C" __global__ void __launch_bounds__(128) armor_attention_##NAME##_8(AttentionArguments a) { attention<CACHED, 8>(a); }

ARMOR_ATTENTION(32, Cached32)
ARMOR_ATTENTION(16, Cached16)
