using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>A linear with a factorised weight, A·S·B.</summary>
internal sealed class FactorisedLinear(ArmorLayer layer, float[]? bias) : LinearWeight(layer.Rows, layer.Columns, bias)
{
    public override KernelSupport SupportedBy(IKernelBackend backend) =>
        backend.Supports(
            KernelOperation.Armor,
            new KernelShape(Rows, Columns, 1, layer.OutputWrapper?.BlockSize ?? 1, layer.InputWrapper?.BlockSize ?? 1, layer.Core.Pattern),
            TensorElementType.Float32);

    protected override void MultiplyWeight(IKernelBackend backend, ReadOnlySpan<float> input, int batch, Span<float> output) =>
        backend.Multiply(layer, input, batch, output);
}
