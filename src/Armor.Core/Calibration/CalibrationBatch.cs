using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>Some calibration sequences side by side, right-padded to the longest. Causal attention keeps the padding out of real tokens.</summary>
internal sealed class CalibrationBatch : IDisposable
{
    // Token 0 exists in every vocabulary; what it computes is never read.
    private const long Padding = 0;

    private readonly Tensor? positions;

    private CalibrationBatch(Tensor tokens, Tensor? positions, long tokenCount)
    {
        Tokens = tokens.DetachFromDisposeScope();
        this.positions = positions?.DetachFromDisposeScope();
        TokenCount = tokenCount;
    }

    /// <summary>int64 [sequences, length].</summary>
    public Tensor Tokens { get; }

    /// <summary>Tokens that are not padding.</summary>
    public long TokenCount { get; }

    /// <summary>
    /// Batches of similar length, so that little is padded: sequences by length, longest first (the costliest batch fails first), equal
    /// lengths in their given order.
    /// </summary>
    /// <param name="sequences">Token ids; none empty.</param>
    /// <param name="tokensPerBatch">Padded tokens a batch holds at most; a longer sequence is a batch of its own.</param>
    /// <param name="device">Where the tokens live.</param>
    /// <param name="isLong">
    /// Whether a length is rotated by LongRoPE's table for long sequences: those stay apart from others, whose rotation padding must not change.
    /// </param>
    public static IReadOnlyList<CalibrationBatch> Create(
        IReadOnlyList<int[]> sequences, int tokensPerBatch, Device device, Func<int, bool>? isLong = null)
    {
        int[][] ordered = [.. sequences.OrderByDescending(sequence => sequence.Length)];
        var batches = new List<CalibrationBatch>();
        for (int start = 0; start < ordered.Length;)
        {
            int length = ordered[start].Length;
            int alike = isLong is null ? ordered.Length - start : ordered.Skip(start).TakeWhile(sequence => isLong(sequence.Length) == isLong(length)).Count();
            int count = Math.Clamp(tokensPerBatch / length, 1, alike);
            batches.Add(Create(ordered.AsSpan(start, count), length, device));
            start += count;
        }

        return batches;
    }

    /// <summary>The rows of real tokens: [sequences, length, d] → [tokens, d].</summary>
    /// <param name="values">One vector a token, padding included.</param>
    public Tensor SelectTokens(Tensor values)
    {
        Tensor rows = values.reshape(-1, values.shape[^1]);
        return positions is null ? rows : rows.index_select(0, positions);
    }

    /// <summary>The opposite of <see cref="SelectTokens"/>: [tokens, d] → [sequences, length, d], zero where there is padding.</summary>
    /// <param name="rows">One vector a real token.</param>
    public Tensor PlaceTokens(Tensor rows)
    {
        using var scope = NewDisposeScope();
        Tensor all = positions is null ? rows : zeros([Tokens.numel(), rows.shape[1]], rows.dtype).index_copy(0, positions, rows);
        return all.reshape(Tokens.shape[0], Tokens.shape[1], rows.shape[1]).MoveToOuterDisposeScope();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Tokens.Dispose();
        positions?.Dispose();
    }

    private static CalibrationBatch Create(ReadOnlySpan<int[]> sequences, int length, Device device)
    {
        var tokens = new long[sequences.Length * length];
        Array.Fill(tokens, Padding);
        var positions = new List<long>(tokens.Length);
        for (int row = 0; row < sequences.Length; row++)
        {
            for (int column = 0; column < sequences[row].Length; column++)
            {
                tokens[(row * length) + column] = sequences[row][column];
                positions.Add((row * length) + column);
            }
        }

        using var scope = NewDisposeScope();
        Tensor matrix = tensor(tokens, int64, device).reshape(sequences.Length, length);
        Tensor? valid = positions.Count == tokens.Length ? null : tensor(positions.ToArray(), int64, device);
        return new CalibrationBatch(matrix, valid, positions.Count);
    }
}
