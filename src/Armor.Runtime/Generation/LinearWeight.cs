using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>A linear as the forward pass uses it: y = W·x + bias.</summary>
internal sealed class LinearWeight(KernelWeight weight, float[]? bias)
{
    /// <summary>d_out.</summary>
    public int Rows => weight.Rows;

    /// <summary>d_in.</summary>
    public int Columns => weight.Columns;

    /// <summary>Multiplies a batch.</summary>
    /// <param name="input">[batch, d_in].</param>
    /// <param name="batch">Number of inputs.</param>
    /// <param name="output">[batch, d_out].</param>
    public void Multiply(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        weight.Multiply(input, batch, output);
        for (var item = 0; bias is not null && item < batch; item++)
        {
            RowMath.Add(bias, output.Slice(item * Rows, Rows));
        }
    }
}
