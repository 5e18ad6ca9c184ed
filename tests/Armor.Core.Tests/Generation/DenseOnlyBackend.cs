using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Core.Tests.Generation;

/// <summary>A backend of a user's own, which knows dense weights only.</summary>
internal class DenseOnlyBackend : KernelBackend
{
    private readonly SimdBackend inner = new();

    public override string Name => "dense only";

    public override KernelSupport Supports(KernelOperation operation, KernelShape shape, TensorElementType elementType) =>
        operation == KernelOperation.Dense ? base.Supports(operation, shape, elementType) : KernelSupport.Unsupported("Only dense weights, please.");

    protected virtual void Multiplying(int rows)
    {
    }

    protected override void MultiplyDenseInternal(
        ReadOnlySpan<float> weight, int rows, int columns, ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        Multiplying(batch);
        inner.MultiplyDense(weight, rows, columns, input, batch, output);
    }

    protected override void MultiplyInternal(ArmorLayer layer, ReadOnlySpan<float> input, int batch, Span<float> output) =>
        throw new InvalidOperationException("Not supported, and called all the same.");

    protected override void MultiplyInternal(SparseCore core, ReadOnlySpan<float> input, int batch, Span<float> output) =>
        throw new InvalidOperationException("Not supported, and called all the same.");

    protected override void MultiplyInternal(BlockDiagonalMatrix matrix, ReadOnlySpan<float> input, int batch, Span<float> output) =>
        throw new InvalidOperationException("Not supported, and called all the same.");
}
