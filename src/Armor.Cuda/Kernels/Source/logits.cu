// The end of a pass: logits are capped, and the likeliest token of each row is found.

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
        ticket = take_ticket(a.tickets + row, blocks - 1);
    }

    block_barrier();
    if (ticket != static_cast<u32>(blocks - 1))
    {
        return;
    }

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

extern "C" __global__ void __launch_bounds__(256) armor_logits(LogitArguments a) { finish_logits(a); }
