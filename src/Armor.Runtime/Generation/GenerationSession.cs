using System.Runtime.InteropServices;
using Armor.Runtime.Generation.Decoding;

namespace Armor.Runtime.Generation;

/// <summary>
/// One sequence under way: its tokens, keys and values. A model may have any number of sessions at the
/// same time; one session is for one thread at a time. Made by <see cref="ArmorModel.CreateSession"/>. Disposing of it gives the memory of its keys and
/// values back at once; without, that happens when it is collected, which knows nothing of a card's memory.
/// </summary>
public sealed class GenerationSession : IDisposable
{
    private readonly List<int> _tokens = [];
    private int _isInUse;
    private bool _isDisposed;

    internal GenerationSession(ArmorModel model, IDecoderSequence sequence)
    {
        Model = model;
        Sequence = sequence;
    }

    /// <summary>The model that the session belongs to.</summary>
    public ArmorModel Model { get; }

    /// <summary>Number of tokens computed so far: the position of the next one.</summary>
    public int Length => _tokens.Count;

    /// <summary>The tokens computed so far.</summary>
    internal ReadOnlySpan<int> Tokens => CollectionsMarshal.AsSpan(_tokens);

    /// <summary>Whether the cache's keys are rotated as those of a sequence beyond the original context; null where they are in between.</summary>
    internal bool? IsLong { get; set; }

    internal IDecoderSequence Sequence { get; }

    /// <summary>Forgets the latest tokens, so that another continuation of the first ones costs no second pass over them.</summary>
    /// <param name="length">Number of tokens to keep.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is negative or above <see cref="Length"/>.</exception>
    /// <exception cref="InvalidOperationException">Another thread computes in the session.</exception>
    public void Rewind(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        Enter();
        try
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
            _tokens.RemoveRange(length, Length - length);
        }
        finally
        {
            Exit();
        }
    }

    /// <summary>Gives the memory back; the session is of no more use.</summary>
    /// <exception cref="InvalidOperationException">Another thread computes in the session.</exception>
    public void Dispose()
    {
        if (!_isDisposed)
        {
            Enter();
            _isDisposed = true;
            Sequence.Dispose();
            Exit();
        }
    }

    internal void Append(ReadOnlySpan<int> tokens) => _tokens.AddRange(tokens);

    /// <summary>How many tokens at the start are also those of another sequence.</summary>
    internal int CommonLength(ReadOnlySpan<int> tokens) => Tokens.CommonPrefixLength(tokens);

    /// <summary>Makes room for that many tokens in all, now and later ones.</summary>
    /// <exception cref="InsufficientMemoryException">There is not as much memory.</exception>
    internal void Reserve(int tokens)
    {
        Sequence.Reserve(tokens);
        _tokens.EnsureCapacity(tokens);
    }

    /// <summary>Claims the session for one call; what is found in use is refused, before anything in it is changed.</summary>
    /// <exception cref="InvalidOperationException">Another call has it.</exception>
    /// <exception cref="ObjectDisposedException">It is disposed of.</exception>
    internal void Enter()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (Interlocked.Exchange(ref _isInUse, 1) != 0)
        {
            throw new InvalidOperationException("The session is in use by another thread, or twice in one batch; it is for one at a time.");
        }
    }

    /// <summary>Ends the claim.</summary>
    internal void Exit() => Volatile.Write(ref _isInUse, 0);
}
