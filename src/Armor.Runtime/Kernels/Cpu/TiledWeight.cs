using System.Runtime.CompilerServices;
using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>A weight of one to three packed matrices, applied one after the other: dense W, a core S, or a layer's B, S and A.</summary>
internal sealed unsafe class TiledWeight : KernelWeight
{
    private readonly CpuBackend _backend;
    private readonly PackedMatrix[] _factors;

    /// <param name="backend">Gives threads and scratch memory.</param>
    /// <param name="operation">What the factors make.</param>
    /// <param name="factors">In the order in which they are applied; taken over.</param>
    /// <param name="main">The one whose type is the weight's.</param>
    public TiledWeight(CpuBackend backend, KernelOperation operation, PackedMatrix[] factors, PackedMatrix main)
        : base(
            operation,
            factors[^1].Layout.Height,
            factors[0].Layout.Blocks * factors[0].Layout.Columns,
            main.Layout.ElementType,
            factors.Sum(factor => factor.Bytes))
    {
        _backend = backend;
        _factors = factors;
    }

    protected override void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        using var use = new Use(this);
        var product = _backend.RentProduct();
        try
        {
            fixed (float* x = input, y = output)
            {
                var source = x;
                for (var i = 0; i < _factors.Length; i++)
                {
                    var rows = (long)_factors[i].Layout.Height * batch;
                    var target = i == _factors.Length - 1 ? y : i == 0 ? product.First(rows) : product.Second(rows);
                    product.Run(_factors[i], _backend.Threads, source, batch, target);
                    source = target;
                }
            }
        }
        finally
        {
            _backend.ReturnProduct(product);
        }
    }

    protected override void CopyRowChecked(int row, Span<float> destination)
    {
        using var use = new Use(this);
        TilePacker.CopyRow(_factors[0], row, destination);
    }

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing)
        {
            Array.ForEach(_factors, factor => factor.Dispose());
        }
    }

    /// <summary>Keeps the factors' memory from being given back.</summary>
    private readonly ref struct Use : IDisposable
    {
        private readonly PackedMatrix[] _factors;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Use(TiledWeight weight)
        {
            _factors = weight._factors;
            for (var i = 0; i < _factors.Length; i++)
            {
                var isAdded = false;
                try
                {
                    _factors[i].Memory.DangerousAddRef(ref isAdded);
                }
                catch (ObjectDisposedException)
                {
                    while (i-- > 0)
                    {
                        _factors[i].Memory.DangerousRelease();
                    }

                    throw new ObjectDisposedException(nameof(KernelWeight));
                }
            }
        }

        public void Dispose()
        {
            foreach (var factor in _factors)
            {
                factor.Memory.DangerousRelease();
            }
        }
    }
}
