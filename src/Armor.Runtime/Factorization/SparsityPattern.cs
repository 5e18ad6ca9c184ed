using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Armor.Runtime.Factorization;

/// <summary>
/// An N:M pattern: N kept of each M consecutive columns of a row, 1 ≤ N &lt; M ≤ 16, written "N:M". The default value is 2:4, the pattern that hardware
/// multiplies by.
/// </summary>
public readonly record struct SparsityPattern : ISpanParsable<SparsityPattern>
{
    /// <summary>The largest M.</summary>
    public const int LargestGroup = 16;

    // Held as the difference from 2:4, so that the default value is 2:4.
    private readonly sbyte _kept;
    private readonly sbyte _group;

    /// <summary>Makes a pattern.</summary>
    /// <param name="kept">N, at least 1.</param>
    /// <param name="group">M, above N and at most 16.</param>
    /// <exception cref="ArgumentException">N or M is out of range.</exception>
    public SparsityPattern(int kept, int group)
    {
        if (!IsValid(kept, group))
        {
            throw new ArgumentException($"A pattern N:M has 1 ≤ N < M ≤ {LargestGroup}; found {kept}:{group}.");
        }

        _kept = (sbyte)(kept - 2);
        _group = (sbyte)(group - 4);
    }

    /// <summary>2:4, the default.</summary>
    public static SparsityPattern TwoFour => default;

    /// <summary>N: how many of each group are kept.</summary>
    public int Kept => _kept + 2;

    /// <summary>M: how many consecutive columns make a group.</summary>
    public int Group => _group + 4;

    /// <summary>In how many ways N of M can be kept: M! / (N!·(M − N)!).</summary>
    public int MaskCount
    {
        get
        {
            var count = 1;
            for (var i = 1; i <= Kept; i++)
            {
                count = count * (Group - Kept + i) / i;
            }

            return count;
        }
    }

    /// <summary>How many values of a row are kept.</summary>
    /// <param name="columns">d_in, a multiple of M.</param>
    /// <exception cref="ArgumentException">The columns are not whole groups.</exception>
    public int KeptOf(int columns) => columns % Group == 0
        ? columns / Group * Kept
        : throw new ArgumentException($"A {this} matrix has a multiple of {Group} columns, not {columns}.", nameof(columns));

    /// <summary>Reads "N:M".</summary>
    /// <param name="text">Such as 4:8.</param>
    /// <exception cref="FormatException">Not a pattern, or out of range.</exception>
    public static SparsityPattern Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return Read(text);
    }

    /// <summary>Reads "N:M"; false where it is not a pattern or out of range.</summary>
    /// <param name="text">Such as 4:8.</param>
    /// <param name="pattern">The pattern.</param>
    public static bool TryParse([NotNullWhen(true)] string? text, out SparsityPattern pattern) => TryRead(text, out pattern);

    static SparsityPattern IParsable<SparsityPattern>.Parse(string s, IFormatProvider? provider) => Read(s);

    static SparsityPattern ISpanParsable<SparsityPattern>.Parse(ReadOnlySpan<char> s, IFormatProvider? provider) => Read(s);

    static bool IParsable<SparsityPattern>.TryParse(string? s, IFormatProvider? provider, out SparsityPattern result) => TryRead(s, out result);

    static bool ISpanParsable<SparsityPattern>.TryParse(ReadOnlySpan<char> s, IFormatProvider? provider, out SparsityPattern result) => TryRead(s, out result);

    /// <summary>"N:M".</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Kept}:{Group}");

    private static SparsityPattern Read(ReadOnlySpan<char> text) => TryRead(text, out var pattern)
        ? pattern
        : throw new FormatException($"Expected a pattern N:M with 1 ≤ N < M ≤ {LargestGroup}; found '{text}'.");

    private static bool TryRead(ReadOnlySpan<char> text, out SparsityPattern pattern)
    {
        pattern = default;
        var colon = text.IndexOf(':');
        if (colon < 0
            || !int.TryParse(text[..colon], NumberStyles.None, CultureInfo.InvariantCulture, out var kept)
            || !int.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var group)
            || !IsValid(kept, group))
        {
            return false;
        }

        pattern = new SparsityPattern(kept, group);
        return true;
    }

    private static bool IsValid(int kept, int group) => kept >= 1 && kept < group && group <= LargestGroup;
}
