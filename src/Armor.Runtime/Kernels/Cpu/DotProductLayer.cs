using System.Buffers;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>
/// A factorised layer in float32: a row of a factor at a time, dotted with every input of the batch. The backend's threads share the rows of each factor.
/// </summary>
internal sealed unsafe class DotProductLayer(CpuBackend backend, KernelOperation operation, ArmorLayer layer)
    : KernelWeight(operation, layer.Rows, layer.Columns, TensorElementType.Float32, layer.StorageBytes(TensorElementType.Float32))
{
    private readonly ScratchPool<Product> _products = new();

    protected override void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        var wrapped = layer.InputWrapper is null ? null : ArrayPool<float>.Shared.Rent(input.Length);
        var core = layer.OutputWrapper is null ? null : ArrayPool<float>.Shared.Rent(output.Length);
        var product = _products.Rent();
        try
        {
            // The pointer to an array that is not there is null, and not used.
            fixed (float* x = input, y = output, wrappedInput = wrapped, coreOutput = core)
            {
                if (layer.InputWrapper is { } inputWrapper)
                {
                    product.Run(backend.Threads, inputWrapper, x, batch, wrappedInput);
                }

                product.Run(backend.Threads, layer.Core, wrapped is null ? x : wrappedInput, batch, core is null ? y : coreOutput);
                if (layer.OutputWrapper is { } outputWrapper)
                {
                    product.Run(backend.Threads, outputWrapper, coreOutput, batch, y);
                }
            }
        }
        finally
        {
            _products.Return(product);
            if (wrapped is not null)
            {
                ArrayPool<float>.Shared.Return(wrapped);
            }

            if (core is not null)
            {
                ArrayPool<float>.Shared.Return(core);
            }
        }
    }

    protected override void CopyRowChecked(int row, Span<float> destination) => throw new NotSupportedException();

    /// <summary>One product under way: by a core, or by a wrapper where there is none.</summary>
    private sealed class Product : IParallelWork, IDisposable
    {
        // Below so many multiplications, waking threads costs more than they help.
        private const long LeastWork = 1 << 14;
        private const int PartsPerThread = 4;

        private SparseCore? _core;
        private BlockDiagonalMatrix? _wrapper;
        private float* _input;
        private float* _output;
        private int _batch;

        public void Run(IKernelThreads threads, SparseCore core, float* input, int batch, float* output)
        {
            (_core, _wrapper) = (core, null);
            Run(threads, core.Rows, (long)core.RowValueCount * batch, input, batch, output);
        }

        public void Run(IKernelThreads threads, BlockDiagonalMatrix wrapper, float* input, int batch, float* output)
        {
            (_core, _wrapper) = (null, wrapper);
            Run(threads, wrapper.Size, (long)wrapper.BlockSize * batch, input, batch, output);
        }

        public void Run(int part, int parts)
        {
            var rows = _core?.Rows ?? _wrapper!.Size;
            var (first, end) = ((int)((long)rows * part / parts), (int)((long)rows * (part + 1) / parts));
            for (var row = first; row < end; row++)
            {
                if (_core is { } core)
                {
                    MultiplyRow(core, row);
                }
                else
                {
                    MultiplyRow(_wrapper!, row);
                }
            }
        }

        public void Dispose()
        {
        }

        private void Run(IKernelThreads threads, int rows, long workOfRow, float* input, int batch, float* output)
        {
            _input = input;
            _batch = batch;
            _output = output;
            threads.Run(this, threads.Count == 1 || rows * workOfRow < LeastWork ? 1 : Math.Min(rows, threads.Count * PartsPerThread));
        }

        private void MultiplyRow(SparseCore core, int row)
        {
            var values = core.RowValues(row);
            var mask = core.RowMask(row);
            for (var item = 0; item < _batch; item++)
            {
                var input = new ReadOnlySpan<float>(_input + ((nint)item * core.Columns), core.Columns);
                _output[((nint)item * core.Rows) + row] = SparseDotProduct.Compute(core.Pattern, values, mask, input);
            }
        }

        private void MultiplyRow(BlockDiagonalMatrix wrapper, int row)
        {
            var size = wrapper.BlockSize;
            var (block, rowInBlock) = Math.DivRem(row, size);
            var coefficients = wrapper.Block(block).Slice(rowInBlock * size, size);
            for (var item = 0; item < _batch; item++)
            {
                var start = ((nint)item * wrapper.Size) + (block * size);
                _output[start + rowInBlock] = DotProduct.Compute(coefficients, new ReadOnlySpan<float>(_input + start, size));
            }
        }
    }
}
