using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels.Cpu.Threads;
using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>
/// Multiplies on the processor, in float32 sums by the widest vectors that it has: AVX-512, AVX2 with FMA, or 128 bits. Has threads of its own, which
/// several models and callers may share: a caller that finds them taken works alone. Cores of other patterns than 2:4 are held as float32 whatever type
/// is asked for.
/// </summary>
public sealed class CpuBackend : KernelBackend, IThreadedBackend
{
    private readonly KernelThreads _threads;
    private readonly InstructionSet _instructionSet;
    private readonly ScratchPool<TiledProduct> _products = new();

    /// <summary>Makes a backend and starts its threads.</summary>
    /// <param name="options">Null for the defaults.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public CpuBackend(CpuBackendOptions? options = null)
    {
        options ??= new CpuBackendOptions();
        options.Validate();
        _instructionSet = options.InstructionSet;
        _threads = new KernelThreads(options.Threads, options.Spin);
        Name = $"CPU, {InstructionSets.NameOf(_instructionSet)}, {options.Threads} {(options.Threads == 1 ? "thread" : "threads")}";
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    protected override bool HoldsDenseInt8 => true;

    /// <inheritdoc/>
    protected override bool HoldsWrappersApart => true;

    internal IKernelThreads Threads => _threads;

    IKernelThreads IThreadedBackend.Threads => _threads;

    internal TiledProduct RentProduct() => _products.Rent();

    internal void ReturnProduct(TiledProduct product) => _products.Return(product);

    /// <inheritdoc/>
    protected override KernelWeight PackDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(source);
        var matrix = PackedMatrices.Pack(source, elementType, _instructionSet, Options(cancellationToken));
        return new TiledWeight(this, KernelOperation.Dense, [matrix], matrix);
    }

    /// <inheritdoc/>
    protected override KernelWeight PackLayer(
        ArmorLayer layer, TensorElementType elementType, TensorElementType wrapperType, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(layer);
        cancellationToken.ThrowIfCancellationRequested();
        if (layer.Core.Pattern != SparsityPattern.TwoFour)
        {
            return new DotProductLayer(this, OperationOf(layer), layer.CopiedTo(elementType, wrapperType));
        }

        var options = Options(cancellationToken);
        var factors = new List<PackedMatrix>(3);
        try
        {
            if (layer.InputWrapper is { } input)
            {
                factors.Add(PackedMatrices.Pack(input, wrapperType, _instructionSet, options));
            }

            var core = PackedMatrices.Pack(layer.Core, elementType, _instructionSet, options);
            factors.Add(core);
            if (layer.OutputWrapper is { } output)
            {
                factors.Add(PackedMatrices.Pack(output, wrapperType, _instructionSet, options));
            }

            return new TiledWeight(this, OperationOf(layer), [.. factors], core);
        }
        catch
        {
            factors.ForEach(factor => factor.Dispose());
            throw;
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _threads.Dispose();
            _products.Dispose();
        }
    }

    private ParallelOptions Options(CancellationToken cancellationToken)
        => new() { MaxDegreeOfParallelism = _threads.Count, CancellationToken = cancellationToken };
}
