using System.Globalization;
using System.Runtime.InteropServices;
using Armor.Runtime.Generation.Attention;

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
        var forward = Forward();
        CheckOwner(session);
        session.Enter();
        try
        {
            CheckContext(tokens.Length, session.Length, nameof(tokens));
            CheckVocabulary(tokens, nameof(tokens));
            var vocabulary = Configuration.VocabularySize;
            if (logits.Length % vocabulary != 0 || logits.Length / vocabulary > tokens.Length)
            {
                throw new ArgumentException(
                    $"The logits must be 0 to {tokens.Length} rows of {vocabulary} values; found {logits.Length} values.", nameof(logits));
            }

            session.Reserve(session.Length + tokens.Length);
            var buffers = forward.Rent();
            try
            {
                Rotate(session, Configuration.HasLongRotation(session.Length + tokens.Length), forward, buffers, cancellationToken);
                var sequence = new Segment(session.Cache, session.Length, 0, 0, session.IsLong == true);
                RunPieces(tokens, sequence, forward, buffers, logits, cancellationToken);
            }
            finally
            {
                forward.Return(buffers);
            }

            session.Append(tokens);
        }
        finally
        {
            session.Exit();
        }
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
        var forward = Forward();
        if (tokens.Length != sessions.Count || logits.Length != (long)sessions.Count * Configuration.VocabularySize)
        {
            throw new ArgumentException(
                $"{sessions.Count} sessions need as many tokens and rows of {Configuration.VocabularySize} logits; found {tokens.Length} tokens and {logits.Length} logits.");
        }

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

            RunSeveral(sessions, tokens, forward, logits, cancellationToken);
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
        IReadOnlyList<GenerationSession> sessions, ReadOnlySpan<int> tokens, ForwardPass forward, Span<float> logits, CancellationToken cancellationToken)
    {
        for (var i = 0; i < sessions.Count; i++)
        {
            CheckContext(1, sessions[i].Length, nameof(sessions));
            sessions[i].Reserve(sessions[i].Length + 1);
        }

        var buffers = forward.Rent();
        try
        {
            for (var i = 0; i < sessions.Count; i++)
            {
                Rotate(sessions[i], Configuration.HasLongRotation(sessions[i].Length + 1), forward, buffers, cancellationToken);
            }

            for (var start = 0; start < tokens.Length; start += ForwardBuffers.MostRows)
            {
                var count = Math.Min(ForwardBuffers.MostRows, tokens.Length - start);
                buffers.Segments.Clear();
                for (var row = 0; row < count; row++)
                {
                    var session = sessions[start + row];
                    buffers.Segments.Add(new Segment(session.Cache, session.Length, row, 1, session.IsLong == true));
                }

                forward.Run(tokens.Slice(start, count), CollectionsMarshal.AsSpan(buffers.Segments), 0, buffers, cancellationToken);
                forward.ComputeLogits(0, count, buffers, logits.Slice(start * Configuration.VocabularySize, count * Configuration.VocabularySize));
            }
        }
        finally
        {
            forward.Return(buffers);
        }

        for (var i = 0; i < sessions.Count; i++)
        {
            sessions[i].Append(tokens.Slice(i, 1));
        }
    }

    /// <summary>Sees that a session's keys are rotated as the sequence now demands, which may take a pass over all its tokens.</summary>
    private void Rotate(GenerationSession session, bool isLong, ForwardPass forward, ForwardBuffers buffers, CancellationToken cancellationToken)
    {
        if (session.IsLong != isLong)
        {
            session.IsLong = null;
            RunPieces(session.Tokens, new Segment(session.Cache, 0, 0, 0, isLong), forward, buffers, [], cancellationToken);
            session.IsLong = isLong;
        }
    }

    /// <summary>Runs tokens of one sequence, some at a time.</summary>
    /// <param name="tokens">At the positions from the start of <paramref name="sequence"/> on.</param>
    /// <param name="sequence">Its rows mean nothing.</param>
    /// <param name="forward">The forward pass.</param>
    /// <param name="buffers">Its activations.</param>
    /// <param name="logits">Of the last tokens.</param>
    /// <param name="cancellationToken">Checked between layers.</param>
    private void RunPieces(
        ReadOnlySpan<int> tokens, Segment sequence, ForwardPass forward, ForwardBuffers buffers, Span<float> logits, CancellationToken cancellationToken)
    {
        var vocabulary = Configuration.VocabularySize;
        var firstWanted = tokens.Length - (logits.Length / vocabulary);
        for (var start = 0; start < tokens.Length; start += ForwardBuffers.MostRows)
        {
            var piece = tokens.Slice(start, Math.Min(ForwardBuffers.MostRows, tokens.Length - start));
            var skipped = Math.Clamp(firstWanted - start, 0, piece.Length);
            var segment = sequence with { FirstPosition = sequence.FirstPosition + start, Rows = piece.Length };
            forward.Run(piece, [segment], skipped, buffers, cancellationToken);
            if (skipped < piece.Length)
            {
                var rows = piece.Length - skipped;
                forward.ComputeLogits(skipped, rows, buffers, logits[..(rows * vocabulary)]);
                logits = logits[(rows * vocabulary)..];
            }
        }
    }

    private ForwardPass Forward()
    {
        var forward = _forward;
        ObjectDisposedException.ThrowIf(forward is null, this);
        return forward;
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
