// What is a mixture of experts' own. The card chooses (armor_choose), and products go by slots (slots.cuh); or the machine chooses, and rows are gathered for one
// expert after another (armor_select), which any weights allow.

/// Arguments of choosing experts.
struct ChooseArguments
{
    const float* scores;        // [rows, experts]
    Selected* chosen;           // [rows, per_token], expert and weight, likeliest first
    Selected* places;           // [rows, per_token], slot and weight, in the same order
    Selected* slots;            // [rows · per_token], row and weight, in the order of experts and then of rows
    ActiveExpert* active;       // [most_active]
    ExpertEight* eights;        // [most_eights]
    int rows;
    int experts;                // at most ExpertsOfLane · 32, and ChooseThreads
    int per_token;              // at most 32
    int most_active;
    int most_eights;
    int is_normalised;          // whether weights of a row sum to one
};

constexpr int ChooseThreads = 256;
constexpr int ExpertsOfLane = 8;

/// A warp a row: softmax over all experts, of which the likeliest are taken; of equals the first.
ARMOR_DEVICE void choose_for_row(const ChooseArguments& a, int row)
{
    const int lane = ARMOR_TID % Lanes;
    float scores[ExpertsOfLane], highest = -3.4028235e38f;
#pragma unroll
    for (int i = 0; i < ExpertsOfLane; i++)
    {
        const int expert = i * Lanes + lane;
        scores[i] = expert < a.experts ? load_input(a.scores + static_cast<u64>(row) * a.experts + expert) : -3.4028235e38f;
        highest = scores[i] > highest ? scores[i] : highest;
    }

#pragma unroll
    for (u32 bits = Lanes / 2; bits > 0; bits /= 2)
    {
        const float other = from_lane_xor(highest, bits);
        highest = other > highest ? other : highest;
    }

    float sum = 0;
#pragma unroll
    for (int i = 0; i < ExpertsOfLane; i++)
    {
        const bool is_there = i * Lanes + lane < a.experts;
        scores[i] = is_there ? exp_of(scores[i] - highest) : -1;
        sum += is_there ? scores[i] : 0;
    }

    sum = sum_of_warp(sum);
    float own_expert = 0, own_weight = 0, total = 0;
    for (int taken = 0; taken < a.per_token; taken++)
    {
        // Numbers of experts go as floats, which hold them exactly. Taken ones are below zero.
        float best = -1, expert = 0;
#pragma unroll
        for (int i = 0; i < ExpertsOfLane; i++)
        {
            const bool is_better = scores[i] > best;
            best = is_better ? scores[i] : best;
            expert = is_better ? static_cast<float>(i * Lanes + lane) : expert;
        }

#pragma unroll
        for (u32 bits = Lanes / 2; bits > 0; bits /= 2)
        {
            const float other = from_lane_xor(best, bits), other_expert = from_lane_xor(expert, bits);
            const bool is_better = other > best || (other == best && other_expert < expert);
            best = is_better ? other : best;
            expert = is_better ? other_expert : expert;
        }

        total += best;
        own_expert = lane == taken ? expert : own_expert;
        own_weight = lane == taken ? best : own_weight;
#pragma unroll
        for (int i = 0; i < ExpertsOfLane; i++)
        {
            scores[i] = static_cast<float>(i * Lanes + lane) == expert ? -1 : scores[i];
        }
    }

    if (lane < a.per_token)
    {
        // What is added is nothing, or no number where a score is none.
        a.chosen[row * a.per_token + lane] = { static_cast<int>(own_expert), own_weight / (a.is_normalised ? total : sum) + (sum - sum) };
    }
}

/// One block of threads for all rows: first a warp a row, then a thread an expert, which finds its rows in their order.
ARMOR_DEVICE void choose(const ChooseArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    __shared__ int counts[ChooseThreads];
    const int tid = ARMOR_TID, all = a.rows * a.per_token;
    for (int row = tid / Lanes; row < a.rows; row += ChooseThreads / Lanes)
    {
        choose_for_row(a, row);
    }

    block_barrier();
    int count = 0;
    for (int i = 0; i < all; i++)
    {
        count += load_selected(a.chosen + i).row == tid;
    }

    counts[tid] = count;
    block_barrier();
    int first = 0, place = 0, eight = 0, eights = 0, active = 0;
    for (int i = 0; i < a.experts; i++)
    {
        const bool is_before = i < tid;
        first += is_before ? counts[i] : 0;
        eight += is_before ? (counts[i] + 7) / 8 : 0;
        place += is_before && counts[i] > 0;
        eights += (counts[i] + 7) / 8;
        active += counts[i] > 0;
    }

    if (count > 0)
    {
        a.active[place] = { tid, first, count, eight };
        for (int i = 0; i < count; i += 8)
        {
            a.eights[eight + i / 8] = { tid, first + i, count - i < 8 ? count - i : 8, 0 };
        }
    }

    for (int i = active + tid; i < a.most_active; i += ChooseThreads)
    {
        a.active[i] = { 0, 0, 0, 0 };
    }

    for (int i = eights + tid; i < a.most_eights; i += ChooseThreads)
    {
        a.eights[i] = { 0, 0, 0, 0 };
    }

    for (int i = 0; count > 0 && i < all; i++)
    {
        const Selected own = load_selected(a.chosen + i);
        if (own.row == tid)
        {
            a.slots[first] = { i / a.per_token, own.weight };
            a.places[i] = { first, own.weight };
            first++;
        }
    }
}

/// Arguments of adding up what experts have made.
struct CombineArguments
{
    const Selected* places;     // [rows, per_token]
    const float* from;          // [slots, size]
    float* to;                  // [rows, size]
    int per_token;
    int size;
};

/// A row's experts, likeliest first.
ARMOR_DEVICE void combine(const CombineArguments& a)
{
    let_next_grid_begin();
    wait_for_previous_grid();
    const int column = ARMOR_BLOCK_X * 256 + ARMOR_TID, row = ARMOR_BLOCK_Y;
    if (column >= a.size)
    {
        return;
    }

    float sum = 0;
    for (int i = 0; i < a.per_token; i++)
    {
        const Selected place = load_selected(a.places + row * a.per_token + i);
        sum += place.weight * load_input(a.from + static_cast<u64>(place.row) * a.size + column);
    }

    a.to[static_cast<u64>(row) * a.size + column] = sum;
}

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

    const Selected own = load_selected(a.selected + i);
    const u64 in_rows = static_cast<u64>(own.row) * a.size + column, in_own = static_cast<u64>(i) * a.size + column;
    if (a.is_added)
    {
        const float value = load_input(a.from + in_own) + (a.bias != nullptr ? load_input(a.bias + column) : 0);
        a.to[in_rows] = load_input(a.to + in_rows) + own.weight * value;
    }
    else
    {
        a.to[in_own] = load_input(a.from + in_rows);
    }
}

extern "C" __global__ void __launch_bounds__(256) armor_choose(ChooseArguments a) { choose(a); }
extern "C" __global__ void __launch_bounds__(256) armor_combine(CombineArguments a) { combine(a); }
extern "C" __global__ void __launch_bounds__(256) armor_select(SelectArguments a) { select_rows(a); }
