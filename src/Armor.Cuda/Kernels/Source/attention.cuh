// Attention of some rows to the past of their sequences, over pages of keys and values. A block of threads takes some queries that share a key/value head and a
// sequence (of one row, or of neighbouring rows), and a part of the positions; whoever comes last of the parts joins them. Positions and pages are read from
// the rows, so that one launch, recorded once, serves every token.

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
constexpr float LowestScore = -3.0e38f;

/// What a block of threads works on.
struct Part
{
    int first_query;            // of the item's: rows · heads of a key/value head
    int queries;
    int first_row;
    int group;
    int head;
    int splits;                 // of this item
    int begin;                  // pages
    int end;
    int to;                     // positions
    const u64* pages;
};

/// Finds a block's queries and its part of the positions; false for none. Positions are those that lie behind the item's last row, from what its first row sees on.
ARMOR_DEVICE bool take_part(const AttentionArguments& a, int queries_of_block, Part& part)
{
    part.group = a.heads / a.key_heads;
    const int query_blocks = (a.rows_of_item * part.group + queries_of_block - 1) / queries_of_block;
    part.head = ARMOR_BLOCK_X / query_blocks;
    part.first_row = a.first_row + ARMOR_BLOCK_Z * a.rows_of_item;
    const int rows_here = a.end_row - part.first_row < a.rows_of_item ? a.end_row - part.first_row : a.rows_of_item;
    part.first_query = ARMOR_BLOCK_X % query_blocks * queries_of_block;
    const int left = rows_here * part.group - part.first_query;
    part.queries = left < queries_of_block ? left : queries_of_block;
    if (part.queries <= 0)
    {
        return false;
    }

    const int first_position = load_row(a.rows, part.first_row).position;
    const Row last = load_row(a.rows, part.first_row + rows_here - 1);
    const int first_page = a.window > 0 && first_position >= a.window ? (first_position - a.window + 1) / PagePositions : 0;
    const int pages = last.position / PagePositions + 1 - first_page;
    const int pages_of_split = (pages + a.splits - 1) / a.splits;
    const int split = ARMOR_BLOCK_Y;
    part.splits = (pages + pages_of_split - 1) / pages_of_split;
    part.begin = first_page + split * pages_of_split;
    part.end = part.begin + pages_of_split < first_page + pages ? part.begin + pages_of_split : first_page + pages;
    part.to = last.position + 1;
    part.pages = last.pages;
    return split < part.splits;
}

/// Where a query, or what attention makes of it, begins.
ARMOR_DEVICE u64 place_of_query(const AttentionArguments& a, const Part& part, int query)
{
    const int own = part.first_query + query;
    return (static_cast<u64>(part.first_row + own / part.group) * a.heads + part.head * part.group + own % part.group) * a.size;
}

/// The row of a query; of one that is not there, some row.
ARMOR_DEVICE Row row_of_query(const AttentionArguments& a, const Part& part, int query)
{
    const int row = part.first_row + (part.first_query + query) / part.group;
    return load_row(a.rows, row < a.end_row ? row : a.end_row - 1);
}

/// The first position that a row sees.
ARMOR_DEVICE int first_seen(const AttentionArguments& a, int position) { return a.window > 0 && position >= a.window ? position - a.window + 1 : 0; }

/// Where the sums of a part of the positions lie: highest score, sum of weights, then values.
ARMOR_DEVICE float* partial_of(const AttentionArguments& a, int block, int split, int queries, int query)
{
    return a.partials + ((static_cast<u64>(block) * a.splits + split) * queries + query) * (2 + a.stride);
}

/// Joins the parts of the positions, in their order.
template <int Queries>
ARMOR_DEVICE void join_parts(const AttentionArguments& a, const Part& part, int block)
{
    for (int index = ARMOR_TID; index < part.queries * a.size; index += AttentionThreads)
    {
        const int j = index / a.size, i = index % a.size;
        float highest = LowestScore;
        for (int split = 0; split < part.splits; split++)
        {
            float own = load_of_other_block(partial_of(a, block, split, Queries, j));
            highest = own > highest ? own : highest;
        }

        float total = 0, sum = 0;
        for (int split = 0; split < part.splits; split++)
        {
            const float* from = partial_of(a, block, split, Queries, j);
            float own = load_of_other_block(from);
            float weight = own > LowestScore ? exp_of(own - highest) : 0;
            total += weight * load_of_other_block(from + 1);
            sum += weight * load_of_other_block(from + 2 + i);
        }

        a.context[place_of_query(a, part, j) + i] = sum / total;
    }
}

/// After the block has written its part: whoever comes last joins all.
template <int Queries>
ARMOR_DEVICE void finish_parts(const AttentionArguments& a, const Part& part, int block)
{
    __shared__ u32 ticket;
    block_barrier();
    if (ARMOR_TID == 0)
    {
        ticket = take_ticket(a.tickets + block, part.splits - 1);
    }

    block_barrier();
    if (ticket == static_cast<u32>(part.splits - 1))
    {
        join_parts<Queries>(a, part, block);
    }
}
