using Armor.Cuda.Devices;
using Armor.Cuda.Packing;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Kernels;

/// <summary>One matrix in float32, multiplied by row by row.</summary>
/// <param name="Kernel">Its name.</param>
/// <param name="Arguments">All but input and output.</param>
internal readonly record struct RowMatrix(string Kernel, RowArguments Arguments)
{
    private const uint RowsPerBlock = 4;
    private const int InputsPerWarp = 4; // RowInputs of rows.cu
    private const int MostInputs = 65535 * InputsPerWarp; // the grid's second dimension

    public static RowMatrix Of(DeviceRun run, DeviceProduct owner, DenseWeightSource source, CancellationToken cancellationToken) => new(
        KernelNames.RowsDense,
        new RowArguments
        {
            Values = owner.Own(run.Upload(new DenseRows(source), cancellationToken)).Address, Rows = source.Rows, Columns = source.Columns, Kept = source.Columns,
        });

    public static RowMatrix Of(DeviceRun run, DeviceProduct owner, SparseCore core, CancellationToken cancellationToken) => new(
        KernelNames.RowsSparse,
        new RowArguments
        {
            Values = owner.Own(run.Upload(new KeptRows(core), cancellationToken)).Address,
            Offsets = owner.Own(run.Upload(new KeptOffsets(core), cancellationToken)).Address,
            Rows = core.Rows,
            Columns = core.Columns,
            Kept = core.RowValueCount,
            GroupKept = core.Pattern.Kept,
            Group = core.Pattern.Group,
        });

    public static RowMatrix Of(DeviceRun run, DeviceProduct owner, BlockDiagonalMatrix matrix, CancellationToken cancellationToken) => new(
        KernelNames.RowsBlocks,
        new RowArguments
        {
            Values = owner.Own(run.Upload(new WrapperRows(matrix), cancellationToken)).Address,
            Rows = matrix.Size,
            Columns = matrix.Size,
            Kept = matrix.BlockSize,
            Block = matrix.BlockSize,
        });

    /// <summary>Queues the product.</summary>
    public void Multiply(DeviceRun run, nint input, int batch, nint output)
    {
        for (var first = 0; first < batch; first += MostInputs)
        {
            var arguments = Arguments;
            arguments.Input = input + ((nint)first * Arguments.Columns * sizeof(float));
            arguments.Output = output + ((nint)first * Arguments.Rows * sizeof(float));
            arguments.Batch = Math.Min(MostInputs, batch - first);
            var blocks = ((uint)Arguments.Rows + RowsPerBlock - 1) / RowsPerBlock;
            run.Launch(Kernel, blocks, (uint)((arguments.Batch + InputsPerWarp - 1) / InputsPerWarp), 1, RowsPerBlock * 32, arguments);
        }
    }
}

/// <summary>A weight whose matrices are all in float32: float32 weights, and cores of other patterns than 2:4.</summary>
internal sealed class RowProduct : DeviceProduct
{
    private readonly List<RowMatrix> _matrices = []; // in the order in which they are applied
    private DeviceMemory? _dense;

    public static RowProduct OfDense(DeviceRun run, DenseWeightSource source, CancellationToken cancellationToken)
        => Made(new RowProduct { Rows = source.Rows, Columns = source.Columns }, product =>
        {
            product._dense = product.Own(run.Upload(new DenseRows(source), cancellationToken));
            product._matrices.Add(new RowMatrix(KernelNames.RowsDense, new RowArguments
            {
                Values = product._dense.Address, Rows = source.Rows, Columns = source.Columns, Kept = source.Columns,
            }));
        });

    public static RowProduct OfLayer(DeviceRun run, ArmorLayer layer, CancellationToken cancellationToken)
        => Made(new RowProduct { Rows = layer.Rows, Columns = layer.Columns }, product =>
        {
            if (layer.InputWrapper is { } input)
            {
                product._matrices.Add(RowMatrix.Of(run, product, input, cancellationToken));
            }

            product._matrices.Add(RowMatrix.Of(run, product, layer.Core, cancellationToken));
            if (layer.OutputWrapper is { } output)
            {
                product._matrices.Add(RowMatrix.Of(run, product, output, cancellationToken));
            }
        });

    public override void Multiply(DeviceRun run, nint input, int batch, nint output)
    {
        var source = input;
        for (var i = 0; i < _matrices.Count; i++)
        {
            var bytes = (long)batch * _matrices[i].Arguments.Rows * sizeof(float);
            var target = i == _matrices.Count - 1
                ? output
                : run.Scratch(i == 0 ? ScratchUse.AfterInputWrapper : ScratchUse.BeforeOutputWrapper, bytes).Address;
            _matrices[i].Multiply(run, source, batch, target);
            source = target;
        }
    }

    public override void CopyRow(DeviceRun run, int row, Span<float> destination)
    {
        var staging = run.Staging(destination.Length * sizeof(float));
        _dense!.CopyTo(staging, destination.Length * sizeof(float), run.Stream, (long)row * Columns * sizeof(float));
        run.Stream.Synchronize();
        staging.AsSpan<float>(destination.Length).CopyTo(destination);
    }

    public override void Embed(DeviceRun run, nint rows, int count, float scale, nint output) => run.Launch(
        KernelNames.EmbedRows, ((uint)Columns + 127) / 128, (uint)count, 1, 128, new EmbedArguments
        {
            Weight = _dense!.Address, Rows = rows, Output = output, Columns = Columns, Scale = scale,
        });

    private static RowProduct Made(RowProduct product, Action<RowProduct> fill)
    {
        try
        {
            fill(product);
            return product;
        }
        catch
        {
            product.Dispose();
            throw;
        }
    }
}
