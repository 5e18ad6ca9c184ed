// Attention of a prompt's rows on tensor cores: 64 queries of one key/value head a block of threads, sixteen a warp. Keys and values come by page into shared memory
// while the page before is worked on; scores stay in registers, whose places are those that the product by the values wants. Queries and weights are
// rounded to float16, as keys and values are; sums are float32.

constexpr int PromptQueries = AttentionWarps * TileRows;

/// Keys or values of some positions in shared memory: rows of Pitch words of sixteen bytes, so that eight neighbouring rows lie in different banks.
template <int Most>
constexpr int PitchOf = Most / 8 + 1;

/// Asks for the keys or the values of some positions; what is not there becomes zero.
template <int Most, int Positions>
ARMOR_DEVICE void fetch_positions(const AttentionArguments& a, u64 from, int first, int to, Word4* tile)
{
    const int chunks = a.stride / Cached16::Elements, padded = (chunks + 1) / 2 * 2;
    for (int i = ARMOR_TID; i < Positions * padded; i += AttentionThreads)
    {
        const int position = i / padded, chunk = i % padded;
        const bool is_there = first + position < to && chunk < chunks;
        const Word4* source = reinterpret_cast<const Word4*>(from) + (is_there ? ((first + position) % PagePositions) * chunks + chunk : 0);
        copy_async(tile + position * PitchOf<Most> + chunk, source, is_there);
    }

    commit_copies();
}

/// The queries of the block as float16, scaled, brought into each warp's registers by way of shared memory.
template <int Most>
ARMOR_DEVICE void take_queries(const AttentionArguments& a, const Part& part, Word4* shared, Word4 (&queries)[Most / 16])
{
    const int lane = ARMOR_TID % Lanes, warp = ARMOR_TID / Lanes, steps = (a.stride + 15) / 16;
    for (int i = ARMOR_TID; i < PromptQueries * steps * 2; i += AttentionThreads)
    {
        const int query = i / (steps * 2), chunk = i % (steps * 2);
        float values[8] = {};
#pragma unroll
        for (int e = 0; e < 8; e++)
        {
            const int element = chunk * 8 + e;
            if (query < part.queries && element < a.size)
            {
                values[e] = a.scale * load_input(a.queries + place_of_query(a, part, query) + element);
            }
        }

        shared[query * PitchOf<Most> + chunk] = {
            pack(Float16(), values[0], values[1]), pack(Float16(), values[2], values[3]), pack(Float16(), values[4], values[5]), pack(Float16(), values[6], values[7]) };
    }

    block_barrier();
#pragma unroll
    for (int step = 0; step < Most / 16; step++)
    {
        queries[step] = { 0, 0, 0, 0 };
        if (step < steps)
        {
            // Four matrices of 8×8: rows and then columns.
            queries[step] = load_matrices(shared + (warp * TileRows + lane / 8 % 2 * 8 + lane % 8) * PitchOf<Most> + step * 2 + lane / 16);
        }
    }

    block_barrier();
}

/// The two rows of a fragment that a lane has a part of.
struct TwoRows
{
    int first[2];               // positions that they see
    int last[2];                // −1 for rows that are not there
    float highest[2];
    float totals[2];            // of the lane's own columns
};

/// Scores become weights; what was summed before is to be multiplied by `corrections`.
template <int Positions>
ARMOR_DEVICE void weigh(const AttentionArguments& a, int first, TwoRows& rows, float (&scores)[Positions / 8][4], float (&corrections)[2])
{
    const int t = ARMOR_TID % 4;
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        float best = rows.highest[r];
#pragma unroll
        for (int i = 0; i < Positions / 4; i++)
        {
            const int position = first + i / 2 * 8 + 2 * t + i % 2;
            float& score = scores[i / 2][2 * r + i % 2];
            score = position < rows.first[r] || position > rows.last[r] ? LowestScore : a.soft_cap > 0 ? soft_capped(score, a.soft_cap) : score;
            best = score > best ? score : best;
        }

#pragma unroll
        for (u32 bits = 1; bits <= 2; bits *= 2)
        {
            const float other = from_lane_xor(best, bits);
            best = other > best ? other : best;
        }

        corrections[r] = rows.highest[r] > LowestScore ? exp_of(rows.highest[r] - best) : 0;
        rows.highest[r] = best;
        float sum = 0;
#pragma unroll
        for (int i = 0; i < Positions / 4; i++)
        {
            float& score = scores[i / 2][2 * r + i % 2];
            score = score > LowestScore ? exp_of(score - best) : 0;
            sum += score;
        }

        rows.totals[r] = rows.totals[r] * corrections[r] + sum;
    }
}

template <int Most, int Positions>
ARMOR_DEVICE void attention_of_prompt(const AttentionArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    static_assert(2 * Positions >= PromptQueries, "queries pass through the same memory");
    __shared__ Word4 shared[2 * Positions * PitchOf<Most>];
    Word4* const keys_here = shared;
    Word4* const values_here = shared + Positions * PitchOf<Most>;
    const int lane = ARMOR_TID % Lanes, warp = ARMOR_TID / Lanes, g = lane / 4, t = lane % 4;
    Part part;
    if (!take_part(a, PromptQueries, part))
    {
        return;
    }

    Word4 queries[Most / 16];
    take_queries<Most>(a, part, shared, queries);
    TwoRows rows;
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        const int query = warp * TileRows + g + 8 * r;
        const int position = row_of_query(a, part, query).position;
        rows.first[r] = first_seen(a, position);
        rows.last[r] = query < part.queries ? position : -1;
        rows.highest[r] = LowestScore;
        rows.totals[r] = 0;
    }

    const int steps = (a.stride + 15) / 16, columns = (a.stride + 7) / 8;
    const u64 block_bytes = bytes_of_block<Cached16>(a.stride);
    float sums[Most / 8][4] = {};
    u64 keys = keys_in<Cached16>(load_input(part.pages + part.begin), a.layer, a.key_heads, part.head, a.stride);
    fetch_positions<Most, Positions>(a, keys, part.begin * PagePositions, part.to, keys_here);
    const int end = part.end * PagePositions < part.to ? part.end * PagePositions : part.to;
    for (int first = part.begin * PagePositions; first < end; first += Positions)
    {
        fetch_positions<Most, Positions>(a, keys + block_bytes, first, part.to, values_here);
        wait_for_copies<1>();
        block_barrier();
        float scores[Positions / 8][4] = {};
#pragma unroll
        for (int step = 0; step < Most / 16; step++)
        {
            if (step < steps)
            {
#pragma unroll
                for (int pair = 0; pair < Positions / 16; pair++)
                {
                    const Word4 two = load_matrices(keys_here + (pair * 16 + lane / 16 * 8 + lane % 8) * PitchOf<Most> + step * 2 + lane / 8 % 2);
                    multiply_dense(Float16(), scores[2 * pair], queries[step], two.x, two.y);
                    multiply_dense(Float16(), scores[2 * pair + 1], queries[step], two.z, two.w);
                }
            }
        }

        block_barrier();
        const int next = first + Positions;
        if (next < end)
        {
            keys = next % PagePositions == 0 ? keys_in<Cached16>(load_input(part.pages + next / PagePositions), a.layer, a.key_heads, part.head, a.stride) : keys;
            fetch_positions<Most, Positions>(a, keys, next, part.to, keys_here);
        }
        else
        {
            commit_copies();
        }

        float corrections[2];
        weigh<Positions>(a, first, rows, scores, corrections);
#pragma unroll
        for (int i = 0; i < Most / 8 * 4; i++)
        {
            sums[i / 4][i % 4] *= corrections[i % 4 / 2];
        }

        wait_for_copies<1>();
        block_barrier();
#pragma unroll
        for (int step = 0; step < Positions / 16; step++)
        {
            const float (&low)[4] = scores[2 * step], (&high)[4] = scores[2 * step + 1];
            const Word4 weights = {
                pack(Float16(), low[0], low[1]), pack(Float16(), low[2], low[3]), pack(Float16(), high[0], high[1]), pack(Float16(), high[2], high[3]) };
#pragma unroll
            for (int pair = 0; pair < Most / 16; pair++)
            {
                if (2 * pair < columns)
                {
                    const Word4 two = load_matrices_transposed(values_here + (step * 16 + lane / 8 % 2 * 8 + lane % 8) * PitchOf<Most> + pair * 2 + lane / 16);
                    multiply_dense(Float16(), sums[2 * pair], weights, two.x, two.y);
                    multiply_dense(Float16(), sums[2 * pair + 1], weights, two.z, two.w);
                }
            }
        }

        block_barrier();
    }

    const int block = ARMOR_BLOCK_Z * ARMOR_GRID_X + ARMOR_BLOCK_X, split = ARMOR_BLOCK_Y;
#pragma unroll
    for (int r = 0; r < 2; r++)
    {
        float total = rows.totals[r];
        total += from_lane_xor(total, 1);
        total += from_lane_xor(total, 2);
        const int query = warp * TileRows + g + 8 * r;
        if (query >= part.queries)
        {
            continue;
        }

        float* partial = partial_of(a, block, split, PromptQueries, query);
        float* to = part.splits == 1 ? a.context + place_of_query(a, part, query) : partial + 2;
        const float scale = part.splits == 1 ? 1 / total : 1;
#pragma unroll
        for (int i = 0; i < Most / 4; i++)
        {
            const int column = i / 2 * 8 + 2 * t + i % 2;
            if (column < a.size)
            {
                to[column] = sums[i / 2][2 * r + i % 2] * scale;
            }
        }

        if (part.splits > 1 && t == 0)
        {
            partial[0] = rows.highest[r];
            partial[1] = total;
        }
    }

    if (part.splits > 1)
    {
        finish_parts<PromptQueries>(a, part, block);
    }
}

extern "C" __global__ void __launch_bounds__(128) armor_attention_prompt_128(AttentionArguments a) { attention_of_prompt<128, 64>(a); }
extern "C" __global__ void __launch_bounds__(128) armor_attention_prompt_256(AttentionArguments a) { attention_of_prompt<256, 32>(a); }
