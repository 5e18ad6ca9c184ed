using System.Runtime.InteropServices;

namespace Armor.Runtime.Tokenization;

/// <summary>
/// Byte-pair merging: the pair of neighbours with the lowest rank merges first, the leftmost of equals before the others. A queue keeps it at
/// O(n log n), so that a whole document in one piece (byte-fallback tokenizers split nothing) or a hostile run of spaces stays quick.
/// Not safe for several threads: each call of an encoder makes its own.
/// </summary>
internal sealed class BytePairMerger(IReadOnlyDictionary<long, BytePairMerger.Merge> merges)
{
    private const int Dead = -1;

    private readonly List<Symbol> symbols = [];
    private readonly PriorityQueue<Candidate, long> queue = new();

    internal static Dictionary<long, Merge> Index(IReadOnlyList<MergeRule> rules)
    {
        var index = new Dictionary<long, Merge>(rules.Count);
        foreach (MergeRule rule in rules)
        {
            // A repeated pair keeps its last rank, as in a map that is filled in file order.
            index[Key(rule.Left, rule.Right)] = new Merge(rule.Rank, rule.Result);
        }

        return index;
    }

    internal void Clear() => symbols.Clear();

    internal void Add(int token) => symbols.Add(new Symbol(token, symbols.Count - 1, symbols.Count + 1));

    /// <summary>Merges what was added and appends the resulting tokens.</summary>
    internal void MergeInto(List<int> tokens)
    {
        Span<Symbol> live = CollectionsMarshal.AsSpan(symbols);
        queue.Clear();
        for (int position = 0; position + 1 < live.Length; position++)
        {
            Enqueue(live, position);
        }

        while (queue.TryDequeue(out Candidate candidate, out _))
        {
            int position = candidate.Position;
            ref Symbol left = ref live[position];
            if (left.Token == Dead || left.Next >= live.Length)
            {
                continue;
            }

            ref Symbol right = ref live[left.Next];
            if (left.Token != candidate.Left || right.Token != candidate.Right)
            {
                continue;
            }

            left.Token = candidate.Result;
            right.Token = Dead;
            left.Next = right.Next;
            if (left.Next < live.Length)
            {
                live[left.Next].Previous = position;
            }

            Enqueue(live, position);
            if (left.Previous >= 0)
            {
                Enqueue(live, left.Previous);
            }
        }

        for (int position = 0; position < live.Length; position = live[position].Next)
        {
            tokens.Add(live[position].Token);
        }
    }

    private static long Key(int left, int right) => ((long)left << 32) | (uint)right;

    private void Enqueue(ReadOnlySpan<Symbol> live, int position)
    {
        Symbol left = live[position];
        if (left.Next < live.Length)
        {
            int right = live[left.Next].Token;
            if (merges.TryGetValue(Key(left.Token, right), out Merge merge))
            {
                queue.Enqueue(new Candidate(position, left.Token, right, merge.Result), ((long)merge.Rank << 32) | (uint)position);
            }
        }
    }

    internal readonly record struct Merge(int Rank, int Result);

    private readonly record struct Candidate(int Position, int Left, int Right, int Result);

    private record struct Symbol(int Token, int Previous, int Next);
}
