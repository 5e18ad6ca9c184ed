namespace Armor.Runtime.Generation;

/// <summary>The half of a layer after attention, from the normed residual stream to what is added to it.</summary>
internal abstract class FeedForward
{
    /// <summary>Computes rows that do not depend on each other.</summary>
    /// <param name="input">[rows, hidden].</param>
    /// <param name="rows">At most <see cref="ForwardBuffers.MostRows"/>.</param>
    /// <param name="buffers">Scratch; what is in its MLP's part is lost.</param>
    /// <param name="output">[rows, hidden].</param>
    public abstract void Run(ReadOnlySpan<float> input, int rows, ForwardBuffers buffers, Span<float> output);
}
