namespace Armor.Runtime.Generation;

/// <summary>The half of a layer after attention, from the normed residual stream to what is added to it: <see cref="GatedMlp"/> or <see cref="MixtureOfExperts"/>.</summary>
public abstract class FeedForward
{
    private protected FeedForward()
    {
    }

    /// <summary>Computes rows that do not depend on each other.</summary>
    /// <param name="input">[rows, hidden].</param>
    /// <param name="rows">At most <see cref="ForwardBuffers.MostRows"/>.</param>
    /// <param name="buffers">Scratch; what is in its MLP's part is lost.</param>
    /// <param name="output">[rows, hidden].</param>
    internal abstract void Run(ReadOnlySpan<float> input, int rows, ForwardBuffers buffers, Span<float> output);
}
