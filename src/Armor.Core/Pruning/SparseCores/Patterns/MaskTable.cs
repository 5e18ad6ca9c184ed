using System.Collections.Concurrent;
using System.Numerics;
using Armor.Runtime.Factorization;

namespace Armor.Core.Pruning.SparseCores.Patterns;

/// <summary>All masks of a pattern, laid out for vectors of eight masks. Immutable.</summary>
internal sealed class MaskTable
{
    /// <summary>Masks a vector.</summary>
    public const int Lanes = 8;

    private static readonly ConcurrentDictionary<SparsityPattern, MaskTable> Tables = new();

    private readonly byte[] columns;

    private MaskTable(SparsityPattern pattern)
    {
        Pattern = pattern;
        int[] masks = [.. Enumerable.Range(0, 1 << pattern.Group).Where(mask => BitOperations.PopCount((uint)mask) == pattern.Kept)];

        // By their columns, so that of masks with equal gains the one of the lowest columns wins.
        columns = [.. masks.Select(Columns).Order(Comparer<byte[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b))).SelectMany(kept => kept)];
        Vectors = (Count + Lanes - 1) / Lanes;
        Indices = new int[Vectors * pattern.Kept * Lanes];
        for (int mask = 0; mask < Count; mask++)
        {
            for (int k = 0; k < pattern.Kept; k++)
            {
                Indices[(((mask / Lanes * pattern.Kept) + k) * Lanes) + (mask % Lanes)] = Kept(mask)[k];
            }
        }
    }

    /// <summary>N:M.</summary>
    public SparsityPattern Pattern { get; }

    /// <summary>The number of masks.</summary>
    public int Count => columns.Length / Pattern.Kept;

    /// <summary>Vectors of eight masks; the last may have lanes that stand for no mask.</summary>
    public int Vectors { get; }

    /// <summary>The kept columns of each mask, [vector][N][lane]; zero in lanes without a mask.</summary>
    public int[] Indices { get; }

    /// <summary>Different entries of a symmetric matrix of the kept columns: N·(N + 1)/2.</summary>
    public int Pairs => Pattern.Kept * (Pattern.Kept + 1) / 2;

    /// <summary>Floats of <see cref="GroupInverses"/> a group: [vector][pair][lane].</summary>
    public int CoefficientsPerGroup => Vectors * Pairs * Lanes;

    /// <summary>The table of a pattern.</summary>
    public static MaskTable Of(SparsityPattern pattern) => Tables.GetOrAdd(pattern, wanted => new MaskTable(wanted));

    /// <summary>The kept columns of a mask, in order.</summary>
    public ReadOnlySpan<byte> Kept(int mask) => columns.AsSpan(mask * Pattern.Kept, Pattern.Kept);

    private static byte[] Columns(int mask)
    {
        byte[] kept = new byte[BitOperations.PopCount((uint)mask)];
        for (int i = 0; i < kept.Length; i++, mask &= mask - 1)
        {
            kept[i] = (byte)BitOperations.TrailingZeroCount(mask);
        }

        return kept;
    }
}
