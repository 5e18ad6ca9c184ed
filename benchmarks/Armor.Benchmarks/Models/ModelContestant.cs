namespace Armor.Benchmarks.Models;

/// <summary>A model in somebody's hands, with one sequence under way.</summary>
internal abstract class ModelContestant(string name) : IDisposable
{
    /// <summary>Whose model, and in which types.</summary>
    public string Name { get; } = name;

    /// <summary>Bytes of weights that a token reads, the head's included.</summary>
    public abstract long Bytes { get; }

    /// <summary>Whether a pass can leave out the head.</summary>
    public abstract bool CanLeaveHeadOut { get; }

    /// <summary>Forgets all but the first tokens.</summary>
    public abstract void Rewind(int length);

    /// <summary>Runs tokens together after those before: what is timed. The logits of the last one are computed.</summary>
    public abstract void Run(ReadOnlySpan<int> tokens, bool withHead = true);

    /// <summary>The latest logits.</summary>
    public abstract float[] Logits();

    public abstract void Dispose();
}
