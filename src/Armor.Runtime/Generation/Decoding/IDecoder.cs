namespace Armor.Runtime.Generation.Decoding;

/// <summary>
/// A model's forward pass, wherever it runs: from tokens to logits, or to the likeliest tokens. Holds nothing of a sequence; what one leaves
/// behind lies in its <see cref="IDecoderSequence"/>. Safe for several callers at once, each with sequences of its own.
/// </summary>
public interface IDecoder : IDisposable
{
    /// <summary>How many tokens <see cref="Run"/> takes at most; longer inputs are cut by the caller.</summary>
    int MostRows { get; }

    /// <summary>Starts an empty sequence.</summary>
    /// <exception cref="ObjectDisposedException">The decoder is disposed of.</exception>
    IDecoderSequence CreateSequence();

    /// <summary>Refuses more positions than can be held, before anything is computed.</summary>
    /// <param name="positions">Of all sequences that will be held at the same time.</param>
    /// <exception cref="InsufficientMemoryException">Their keys and values do not fit.</exception>
    void CheckFits(long positions);

    /// <summary>
    /// Takes tokens through all layers, which adds their keys and values to their sequences. On an exception the sequences hold what they held:
    /// positions from a segment's first on mean nothing until they are computed again.
    /// </summary>
    /// <param name="tokens">1 to <see cref="MostRows"/>, each below the vocabulary size.</param>
    /// <param name="segments">Which sequence each token belongs to, in order, without gaps; the sequences differ and have room for their rows.</param>
    /// <param name="output">What is wanted of the last rows.</param>
    /// <param name="cancellationToken">Checked now and then.</param>
    /// <exception cref="ArithmeticException">The likeliest token is wanted, and a logit is not finite.</exception>
    /// <exception cref="ObjectDisposedException">The decoder is disposed of.</exception>
    void Run(ReadOnlySpan<int> tokens, ReadOnlySpan<DecoderSegment> segments, DecoderOutput output, CancellationToken cancellationToken);
}

/// <summary>Keys and values of one sequence, made by <see cref="IDecoder.CreateSequence"/>; for one thread at a time. Disposing of it gives its memory back.</summary>
public interface IDecoderSequence : IDisposable
{
    /// <summary>Makes room for that many positions in all; what is there stays, also where this fails.</summary>
    /// <param name="positions">At least 0; fewer than there is room for change nothing.</param>
    /// <exception cref="InsufficientMemoryException">There is not as much memory.</exception>
    void Reserve(int positions);
}

/// <summary>Rows of a pass that are consecutive positions of one sequence.</summary>
/// <param name="Sequence">The sequence.</param>
/// <param name="FirstPosition">The position of the first row: how many positions the sequence holds before.</param>
/// <param name="FirstRow">The first row.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="IsLong">
/// Whether the sequence is rotated as one beyond the original context, see <see cref="Models.ModelConfiguration.HasLongRotation"/>. It is the same for all
/// positions of a sequence: where it changes, the caller computes them anew.
/// </param>
public readonly record struct DecoderSegment(IDecoderSequence Sequence, int FirstPosition, int FirstRow, int Rows, bool IsLong);
