using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>A linear as the forward pass uses it: y = W·x + bias.</summary>
public sealed class LinearWeight
{
    /// <summary>Joins a weight and a bias.</summary>
    /// <param name="weight">[d_out, d_in].</param>
    /// <param name="bias">[d_out], or null for none.</param>
    public LinearWeight(KernelWeight weight, ReadOnlyMemory<float>? bias)
    {
        ArgumentNullException.ThrowIfNull(weight);
        Weight = weight;
        Bias = bias;
    }

    /// <summary>W, as the backend holds it.</summary>
    public KernelWeight Weight { get; }

    /// <summary>[d_out], where there is one.</summary>
    public ReadOnlyMemory<float>? Bias { get; }

    /// <summary>d_out.</summary>
    public int Rows => Weight.Rows;

    /// <summary>d_in.</summary>
    public int Columns => Weight.Columns;

    /// <summary>Multiplies a batch.</summary>
    /// <param name="input">[batch, d_in].</param>
    /// <param name="batch">Number of inputs.</param>
    /// <param name="output">[batch, d_out].</param>
    internal void Multiply(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        Weight.Multiply(input, batch, output);
        for (var item = 0; Bias is { } bias && item < batch; item++)
        {
            RowMath.Add(bias.Span, output.Slice(item * Rows, Rows));
        }
    }
}
