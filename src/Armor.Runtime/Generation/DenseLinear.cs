using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>A linear with a dense weight, [d_out, d_in].</summary>
internal sealed class DenseLinear(float[] weight, int rows, int columns, float[]? bias) : LinearWeight(rows, columns, bias)
{
    public override KernelSupport SupportedBy(IKernelBackend backend) =>
        backend.Supports(KernelOperation.Dense, new KernelShape(Rows, Columns, 1), TensorElementType.Float32);

    protected override void MultiplyWeight(IKernelBackend backend, ReadOnlySpan<float> input, int batch, Span<float> output) =>
        backend.MultiplyDense(weight, Rows, Columns, input, batch, output);
}
