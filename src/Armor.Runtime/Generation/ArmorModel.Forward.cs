using System.Buffers;
using System.Globalization;
using Armor.Runtime.Generation.Decoding;

namespace Armor.Runtime.Generation;

/// <summary>From tokens to logits.</summary>
public sealed partial class ArmorModel
{
    /// <summary>Appends tokens to a session and computes the logits that follow the last of them.</summary>
    /// <param name="tokens">The tokens after those that the session has; they go through the layers together.</param>
    /// <param name="session">A session of this model; on an exception it stays as it was.</param>
    /// <param name="logits">
    /// [rows, vocabulary]; its length decides how many rows, 0 to the number of tokens. The last row belongs to the last token. Rows that are not
    /// wanted do not go through the head.
    /// </param>
    /// <param name="cancellationToken">Checked between layers.</param>
    /// <exception cref="ArgumentException">
    /// The session is another model's, the tokens do not fit the context, a token is outside the vocabulary, or the length of the logits is
    /// not that of 0 to <c>tokens.Length</c> rows.
    /// </exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for the keys and values of the tokens; nothing was computed.</exception>
    /// <exception cref="InvalidOperationException">Another thread computes in the session.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public void ForwardLogits(ReadOnlySpan<int> tokens, GenerationSession session, Span<float> logits, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(session);
        var vocabulary = Configuration.VocabularySize;
        if (logits.Length % vocabulary != 0 || logits.Length / vocabulary > tokens.Length)
        {
            throw new ArgumentException(
                $"The logits must be 0 to {tokens.Length} rows of {vocabulary} values; found {logits.Length} values.", nameof(logits));
        }

        Advance(tokens, session, DecoderOutput.OfLogits(logits), cancellationToken);
    }

    /// <summary>
    /// Appends one token to each of several sessions and computes the logits that follow: the weights are read once for all of them. Each session's
    /// logits are those that it would have alone, as far as the backend multiplies each input of a batch by itself (<see cref="Kernels.Cpu.CpuBackend"/> does).
    /// </summary>
    /// <param name="sessions">Different sessions of this model, each of any length; on an exception they stay as they were.</param>
    /// <param name="tokens">[sessions].</param>
    /// <param name="logits">[sessions, vocabulary].</param>
    /// <param name="cancellationToken">Checked between layers.</param>
    /// <exception cref="ArgumentException">
    /// A session is another model's or full, a token is outside the vocabulary, or there are not as many tokens or rows of logits as sessions.
    /// </exception>
    /// <exception cref="InsufficientMemoryException">There is no memory for the keys and values of the tokens; nothing was computed.</exception>
    /// <exception cref="InvalidOperationException">Another thread computes in a session, or one is in the list twice.</exception>
    /// <exception cref="ObjectDisposedException">The model is disposed of.</exception>
    public void ForwardBatch(
        IReadOnlyList<GenerationSession> sessions, ReadOnlySpan<int> tokens, Span<float> logits, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sessions);
        if (tokens.Length != sessions.Count || logits.Length != (long)sessions.Count * Configuration.VocabularySize)
        {
            throw new ArgumentException(
                $"{sessions.Count} sessions need as many tokens and rows of {Configuration.VocabularySize} logits; found {tokens.Length} tokens and {logits.Length} logits.");
        }

        Advance(sessions, tokens, DecoderOutput.OfLogits(logits), cancellationToken);
    }

    /// <summary>Appends tokens to a session; the logits or likeliest tokens of the last of them are wanted.</summary>
    private void Advance(ReadOnlySpan<int> tokens, GenerationSession session, DecoderOutput output, CancellationToken cancellationToken)
    {
        var decoder = Decoder();
        CheckOwner(session);
        session.Enter();
        try
        {
            CheckContext(tokens.Length, session.Length, nameof(tokens));
            CheckVocabulary(tokens, nameof(tokens));
            session.Reserve(session.Length + tokens.Length);
            Rotate(session, Configuration.HasLongRotation(session.Length + tokens.Length), decoder, cancellationToken);
            RunPieces(tokens, new DecoderSegment(session.Sequence, session.Length, 0, 0, session.IsLong == true), decoder, output, cancellationToken);
            session.Append(tokens);
        }
        finally
        {
            session.Exit();
        }
    }

    /// <summary>Appends a token to each session, and gives the logits or likeliest tokens that follow.</summary>
    private void Advance(IReadOnlyList<GenerationSession> sessions, ReadOnlySpan<int> tokens, DecoderOutput output, CancellationToken cancellationToken)
    {
        var decoder = Decoder();
        CheckVocabulary(tokens, nameof(tokens));
        var entered = 0;
        try
        {
            for (; entered < sessions.Count; entered++)
            {
                ArgumentNullException.ThrowIfNull(sessions[entered], nameof(sessions));
                CheckOwner(sessions[entered]);
                sessions[entered].Enter();
            }

            RunSeveral(sessions, tokens, decoder, output, cancellationToken);
        }
        finally
        {
            while (entered > 0)
            {
                sessions[--entered].Exit();
            }
        }
    }

    /// <summary>Runs a token of each session, some sessions at a time.</summary>
    private void RunSeveral(
        IReadOnlyList<GenerationSession> sessions, ReadOnlySpan<int> tokens, IDecoder decoder, DecoderOutput output, CancellationToken cancellationToken)
    {
        for (var i = 0; i < sessions.Count; i++)
        {
            CheckContext(1, sessions[i].Length, nameof(sessions));
            sessions[i].Reserve(sessions[i].Length + 1);
        }

        for (var i = 0; i < sessions.Count; i++)
        {
            Rotate(sessions[i], Configuration.HasLongRotation(sessions[i].Length + 1), decoder, cancellationToken);
        }

        var segments = ArrayPool<DecoderSegment>.Shared.Rent(Math.Min(tokens.Length, decoder.MostRows));
        try
        {
            for (var start = 0; start < tokens.Length; start += decoder.MostRows)
            {
                var count = Math.Min(decoder.MostRows, tokens.Length - start);
                for (var row = 0; row < count; row++)
                {
                    var session = sessions[start + row];
                    segments[row] = new DecoderSegment(session.Sequence, session.Length, row, 1, session.IsLong == true);
                }

                decoder.Run(
                    tokens.Slice(start, count), segments.AsSpan(0, count), output.Slice(start, count, Configuration.VocabularySize), cancellationToken);
            }
        }
        finally
        {
            ArrayPool<DecoderSegment>.Shared.Return(segments, clearArray: true);
        }

        for (var i = 0; i < sessions.Count; i++)
        {
            sessions[i].Append(tokens.Slice(i, 1));
        }
    }

    /// <summary>Sees that a session's keys are rotated as the sequence now demands, which may take a pass over all its tokens.</summary>
    private void Rotate(GenerationSession session, bool isLong, IDecoder decoder, CancellationToken cancellationToken)
    {
        if (session.IsLong != isLong)
        {
            session.IsLong = null;
            RunPieces(session.Tokens, new DecoderSegment(session.Sequence, 0, 0, 0, isLong), decoder, default, cancellationToken);
            session.IsLong = isLong;
        }
    }

    /// <summary>Runs tokens of one sequence, some at a time.</summary>
    /// <param name="tokens">At the positions from the start of <paramref name="sequence"/> on.</param>
    /// <param name="sequence">Its rows mean nothing.</param>
    /// <param name="decoder">The forward pass.</param>
    /// <param name="output">What is wanted of the last tokens.</param>
    /// <param name="cancellationToken">Checked between layers.</param>
    private void RunPieces(
        ReadOnlySpan<int> tokens, DecoderSegment sequence, IDecoder decoder, DecoderOutput output, CancellationToken cancellationToken)
    {
        var vocabulary = Configuration.VocabularySize;
        var firstWanted = tokens.Length - output.RowCount(vocabulary);
        for (var start = 0; start < tokens.Length; start += decoder.MostRows)
        {
            var piece = tokens.Slice(start, Math.Min(decoder.MostRows, tokens.Length - start));
            var segment = sequence with { FirstPosition = sequence.FirstPosition + start, Rows = piece.Length };
            var first = Math.Max(firstWanted - start, 0);
            var own = first < piece.Length ? output.Slice(start + first - firstWanted, piece.Length - first, vocabulary) : default;
            decoder.Run(piece, [segment], own, cancellationToken);
        }
    }

    private IDecoder Decoder()
    {
        var decoder = _decoder;
        ObjectDisposedException.ThrowIf(decoder is null, this);
        return decoder;
    }

    private void CheckOwner(GenerationSession? session)
    {
        if (session is not null && session.Model != this)
        {
            throw new ArgumentException("The session belongs to another model.", nameof(session));
        }
    }

    private void CheckContext(int tokens, int before, string parameter)
    {
        if (tokens > Configuration.ContextLength - before)
        {
            var taken = before == 0 ? string.Empty : string.Create(CultureInfo.InvariantCulture, $", of which {before} are taken");
            throw new ArgumentException($"{tokens} tokens do not fit: the model's context is {Configuration.ContextLength} tokens{taken}.", parameter);
        }
    }

    private void CheckVocabulary(ReadOnlySpan<int> tokens, string parameter)
    {
        for (var i = 0; i < tokens.Length; i++)
        {
            if ((uint)tokens[i] >= (uint)Configuration.VocabularySize)
            {
                throw new ArgumentOutOfRangeException(
                    parameter, tokens[i], $"Token {i} is outside the vocabulary of {Configuration.VocabularySize} tokens of {_folder}.");
            }
        }
    }
}
