using Armor.Cuda.Kernels;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Cuda;

/// <summary>A weight in the card's memory, multiplied by from the machine's: inputs go over, results come back.</summary>
internal sealed class CudaWeight(CudaBackend backend, KernelOperation operation, TensorElementType elementType, DeviceProduct product)
    : KernelWeight(operation, product.Rows, product.Columns, elementType, product.Bytes)
{
    private bool _isFreed; // written while the backend does nothing else

    /// <summary>What runs on the card.</summary>
    public DeviceProduct Product => product;

    protected override void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        // Spans do not go into closures; both ends pass through pinned memory anyway.
        using var use = new Use(this);
        var run = use.Run;
        var inputBytes = (long)batch * Columns * sizeof(float);
        var outputBytes = (long)batch * Rows * sizeof(float);
        var staging = run.Staging(Math.Max(inputBytes, outputBytes));
        input.CopyTo(staging.AsSpan<float>(input.Length));
        var source = run.Scratch(ScratchUse.Input, inputBytes);
        var target = run.Scratch(ScratchUse.Output, outputBytes);
        source.CopyFrom(staging, inputBytes, run.Stream);
        product.Multiply(run, source.Address, batch, target.Address);
        target.CopyTo(staging, outputBytes, run.Stream);
        run.Stream.Synchronize();
        staging.AsSpan<float>(output.Length).CopyTo(output);
    }

    protected override void CopyRowChecked(int row, Span<float> destination)
    {
        using var use = new Use(this);
        product.CopyRow(use.Run, row, destination);
    }

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing)
        {
            backend.Free(() =>
            {
                if (!_isFreed)
                {
                    _isFreed = true;
                    product.Dispose();
                }
            });
        }
    }

    /// <summary>Nobody else uses the card, and nobody gives the weight back.</summary>
    private readonly ref struct Use : IDisposable
    {
        private readonly CudaBackend _backend;

        public Use(CudaWeight weight)
        {
            _backend = weight.Backend;
            Run = _backend.Enter();
            if (weight._isFreed)
            {
                _backend.Leave();
                throw new ObjectDisposedException(nameof(KernelWeight));
            }
        }

        public DeviceRun Run { get; }

        public void Dispose() => _backend.Leave();
    }

    private CudaBackend Backend => backend;
}
