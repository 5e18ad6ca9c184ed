using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>A linear as the forward pass uses it: y = W·x + bias, whatever form W is held in.</summary>
internal abstract class LinearWeight(int rows, int columns, float[]? bias)
{
    /// <summary>d_out.</summary>
    public int Rows { get; } = rows;

    /// <summary>d_in.</summary>
    public int Columns { get; } = columns;

    /// <summary>Whether a backend can multiply by this weight.</summary>
    public abstract KernelSupport SupportedBy(IKernelBackend backend);

    /// <summary>Multiplies a batch.</summary>
    /// <param name="backend">What multiplies.</param>
    /// <param name="input">[batch, d_in].</param>
    /// <param name="batch">Number of inputs.</param>
    /// <param name="output">[batch, d_out].</param>
    public void Multiply(IKernelBackend backend, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        MultiplyWeight(backend, input, batch, output);
        for (var item = 0; bias is not null && item < batch; item++)
        {
            RowMath.Add(bias, output.Slice(item * Rows, Rows));
        }
    }

    protected abstract void MultiplyWeight(IKernelBackend backend, ReadOnlySpan<float> input, int batch, Span<float> output);
}
