using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Core.Tests.Generation;

/// <summary>A backend of a user's own, which knows dense weights only.</summary>
internal class DenseOnlyBackend : KernelBackend
{
    private readonly CpuBackend inner = new(new CpuBackendOptions { Threads = 1 });

    public override string Name => "dense only";

    public override KernelSupport Supports(KernelOperation operation, KernelShape shape, TensorElementType elementType) =>
        operation == KernelOperation.Dense ? base.Supports(operation, shape, elementType) : KernelSupport.Unsupported("Only dense weights, please.");

    protected virtual void Multiplying(int rows)
    {
    }

    protected override KernelWeight PackDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken) =>
        new Weight(this, inner.PrepareDense(source, elementType, cancellationToken));

    protected override KernelWeight PackLayer(
        ArmorLayer layer, TensorElementType elementType, TensorElementType wrapperType, CancellationToken cancellationToken) =>
        throw new InvalidOperationException("Not supported, and called all the same.");

    protected override void Dispose(bool disposing) => inner.Dispose();

    private sealed class Weight(DenseOnlyBackend backend, KernelWeight inner)
        : KernelWeight(inner.Operation, inner.Rows, inner.Columns, inner.ElementType, inner.Bytes)
    {
        protected override void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output)
        {
            backend.Multiplying(batch);
            inner.Multiply(input, batch, output);
        }

        protected override void CopyRowChecked(int row, Span<float> destination) => inner.CopyRow(row, destination);

        protected override void Dispose(bool disposing)
        {
            inner.Dispose();
            base.Dispose(disposing);
        }
    }
}
