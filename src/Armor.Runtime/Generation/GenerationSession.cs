namespace Armor.Runtime.Generation;

/// <summary>
/// One sequence under way: its keys and values, and the scratch memory of its forward passes. A model may have any number of sessions at the
/// same time; one session is for one thread at a time. Made by <see cref="ArmorModel.CreateSession"/>.
/// </summary>
public sealed class GenerationSession
{
    private readonly List<int> _tokens = [];

    internal GenerationSession(ArmorModel model)
    {
        Model = model;
        Cache = new KeyValueCache(model.Configuration);
        Buffers = new ForwardBuffers(model.Configuration);
    }

    /// <summary>The model that the session belongs to.</summary>
    public ArmorModel Model { get; }

    /// <summary>Number of tokens computed so far: the position of the next one.</summary>
    public int Length => _tokens.Count;

    /// <summary>The tokens computed so far.</summary>
    internal IReadOnlyList<int> Tokens => _tokens;

    /// <summary>Whether the cache's keys are rotated as those of a sequence beyond the original context; null where they are in between.</summary>
    internal bool? IsLong { get; set; }

    internal KeyValueCache Cache { get; }

    internal ForwardBuffers Buffers { get; }

    /// <summary>Forgets the latest tokens, so that another continuation of the first ones costs no second pass over them.</summary>
    /// <param name="length">Number of tokens to keep.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is negative or above <see cref="Length"/>.</exception>
    public void Rewind(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length);
        _tokens.RemoveRange(length, Length - length);
    }

    internal void Append(ReadOnlySpan<int> tokens) => _tokens.AddRange(tokens);
}
