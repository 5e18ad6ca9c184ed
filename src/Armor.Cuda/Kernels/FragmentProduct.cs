using Armor.Cuda.Devices;
using Armor.Cuda.Packing;
using Armor.Cuda.Prefill;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Kernels;

/// <summary>
/// A weight of 16-bit values, or a 2:4 core of 8-bit ones, for the tensor cores: <see cref="FragmentLaunch"/> multiplies by it. Blocks that no fragment fits go
/// row by row, in kernels of their own.
/// </summary>
internal sealed class FragmentProduct : DeviceProduct
{
    private readonly string _form;
    private readonly TensorElementType _type;
    private DeviceMemory? _weight;
    private DeviceMemory? _inputFragments;
    private DeviceMemory? _outputFragments;
    private int _inputBlock;
    private int _outputBlock;
    private LibraryProduct? _library;

    private FragmentProduct(string form, TensorElementType type)
    {
        _form = form;
        _type = type;
    }

    /// <summary>Into how many parts the columns are cut, each summed by itself; the same for every batch, so that results are.</summary>
    public required int Splits { get; init; }

    public static FragmentProduct OfDense(DeviceRun run, DenseWeightSource source, TensorElementType type, int? splits, CancellationToken cancellationToken)
        => Made(
            new FragmentProduct("dense", type) { Rows = source.Rows, Columns = source.Columns, Splits = SplitsOf(run, source.Rows, source.Columns, splits) },
            product => product._weight = product.Own(run.Upload(new DenseFragments(source, type), cancellationToken)));

    public static FragmentProduct OfLayer(
        DeviceRun run, ArmorLayer layer, TensorElementType type, int? splits, (PrefillLibraries Libraries, int Batch)? prefill, CancellationToken cancellationToken)
        => Made(
            new FragmentProduct(layer.Core.IsQuantised ? "int8" : "sparse", type)
            {
                Rows = layer.Rows, Columns = layer.Columns, Splits = SplitsOf(run, layer.Rows, layer.Columns, splits), Prefill = prefill,
            },
            product => product.Fill(run, layer, cancellationToken));

    /// <summary>A weight of parts that are packed already, in fragments: for measurements.</summary>
    /// <param name="run">Takes them to the device.</param>
    /// <param name="form">sparse, int8 or dense.</param>
    /// <param name="shape">Rows, columns and block sizes; 1 for none.</param>
    /// <param name="type">BFloat16 or Float16.</param>
    /// <param name="splits">Null for the best by rule.</param>
    /// <param name="weight">Core or dense weight.</param>
    /// <param name="inputWrapper">B; null for none.</param>
    /// <param name="outputWrapper">A; null for none.</param>
    public static FragmentProduct OfParts(
        DeviceRun run, string form, KernelShape shape, TensorElementType type, int? splits, IPackedParts weight, IPackedParts? inputWrapper, IPackedParts? outputWrapper)
        => Made(
            new FragmentProduct(form, type) { Rows = shape.Rows, Columns = shape.Columns, Splits = SplitsOf(run, shape.Rows, shape.Columns, splits) },
            product =>
            {
                product._weight = product.Own(run.Upload(weight, default));
                product._inputBlock = shape.InputBlock;
                product._outputBlock = shape.OutputBlock;
                product._inputFragments = inputWrapper is null ? null : product.Own(run.Upload(inputWrapper, default));
                product._outputFragments = outputWrapper is null ? null : product.Own(run.Upload(outputWrapper, default));
            });

    /// <summary>NVIDIA's libraries for large batches, and from which on; null for none.</summary>
    public (PrefillLibraries Libraries, int Batch)? Prefill { get; init; }

    /// <summary>sparse, int8 or dense.</summary>
    public string Form => _form;

    /// <summary>The type of inputs and wrappers.</summary>
    public TensorElementType Type => _type;

    /// <summary>bf16 or f16, as kernels are called.</summary>
    public string TypeName => _type == TensorElementType.BFloat16 ? "bf16" : "f16";

    /// <summary>The core or dense weight.</summary>
    public nint Weight => _weight!.Address;

    /// <summary>B in fragments and its block size; null where there is none.</summary>
    public (nint Address, int Block)? InputFragments => _inputFragments is null ? null : (_inputFragments.Address, _inputBlock);

    /// <summary>A in fragments and its block size; null where there is none.</summary>
    public (nint Address, int Block)? OutputFragments => _outputFragments is null ? null : (_outputFragments.Address, _outputBlock);

    /// <summary>B row by row, where no fragment fits its blocks.</summary>
    public RowMatrix? InputRows { get; private set; }

    /// <summary>A row by row, where no fragment fits its blocks.</summary>
    public RowMatrix? OutputRows { get; private set; }

    /// <summary>Whether a large batch goes to NVIDIA's libraries: a core with wrappers of fragments or none, and a shape that they take.</summary>
    public bool FitsLibraries => _form != "dense" && InputRows is null && OutputRows is null
        && Rows % SparseLtPlan.SparseMultiple == 0 && Columns % SparseLtPlan.SparseMultiple == 0;

    public override void Multiply(DeviceRun run, nint input, int batch, nint output)
    {
        if (GoesToLibraries(batch))
        {
            // Made from what is on the device when first wanted: many weights never see a large batch.
            _library ??= new LibraryProduct(run, Prefill!.Value.Libraries, this);
            _library.Multiply(run, input, batch, output);
            return;
        }

        FragmentLaunch.Queue(run, [this], Splits, new ProductInput(input), batch, [output]);
    }

    /// <summary>Queues y = W·x, or y += W·x, for an x that is made on the way.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="input">Anything where <see cref="TakesAnyInput"/>.</param>
    /// <param name="batch">At least 1.</param>
    /// <param name="output">Address on the device: [batch, d_out], float32.</param>
    /// <param name="sum">Something where <see cref="AddsToOutput"/>.</param>
    public void Multiply(DeviceRun run, ProductInput input, int batch, nint output, ProductSum sum = default)
        => FragmentLaunch.Queue(run, [this], Splits, input, batch, [output], sum);

    /// <inheritdoc/>
    public override bool TakesAnyInput(int batch) => InputRows is null && !GoesToLibraries(batch);

    /// <inheritdoc/>
    public override bool AddsToOutput(int batch) => OutputRows is null && batch < FragmentLaunch.LargeBatch && !GoesToLibraries(batch);

    /// <summary>Whether NVIDIA's libraries multiply so many inputs.</summary>
    public bool GoesToLibraries(int batch) => Prefill is { } prefill && batch >= prefill.Batch && FitsLibraries;

    public override void CopyRow(DeviceRun run, int row, Span<float> destination)
    {
        var tileBytes = Fragments.ChunksOf(Columns) * Fragments.DenseChunkBytes;
        var staging = run.Staging(tileBytes);
        _weight!.CopyTo(staging, tileBytes, run.Stream, (long)(row / Fragments.TileRows) * tileBytes);
        run.Stream.Synchronize();
        DenseFragments.CopyRow(staging.AsSpan<byte>(tileBytes), row % Fragments.TileRows, _type, destination);
    }

    public override void Embed(DeviceRun run, nint rows, int count, float scale, nint output) => run.Launch(
        KernelNames.Embed(TypeName), Blocks((Columns + 1) / 2, 128), (uint)count, 1, 128, new EmbedArguments
        {
            Weight = Weight, Rows = rows, Output = output, Columns = Columns, Chunks = Fragments.ChunksOf(Columns), Scale = scale,
        });

    /// <summary>
    /// As many parts as fill the card best: two blocks of threads a multiprocessor run at once, and the longest queue of chunks decides; half a
    /// chunk's time for each block's beginning and end, and little for each part's sums. By thought: to be measured (docs/cuda.md).
    /// </summary>
    internal static int BestSplits(int rows, int columns, int multiprocessors)
    {
        var blocks = (rows + Fragments.BlockRows - 1) / Fragments.BlockRows;
        var chunks = Fragments.ChunksOf(columns);
        var (best, least) = (1, double.PositiveInfinity);
        for (var splits = 1; splits <= Math.Min(chunks, 64); splits++)
        {
            var rounds = ((blocks * splits) + (2 * multiprocessors) - 1) / (2 * multiprocessors);
            var cost = (rounds * (((chunks + splits - 1) / splits) + 0.5)) + (0.02 * splits);
            if (cost < least)
            {
                (best, least) = (splits, cost);
            }
        }

        return best;
    }

    /// <summary>As many as are asked for, or the best by rule; at most one a chunk.</summary>
    internal static int SplitsOf(DeviceRun run, int rows, int columns, int? splits)
        => Math.Min(splits ?? BestSplits(rows, columns, run.Device.Multiprocessors), Fragments.ChunksOf(columns));

    private static FragmentProduct Made(FragmentProduct product, Action<FragmentProduct> fill)
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

    private static uint Blocks(int count, uint each) => ((uint)count + each - 1) / each;

    private void Fill(DeviceRun run, ArmorLayer layer, CancellationToken cancellationToken)
    {
        _weight = Own(run.Upload(new SparseFragments(layer.Core, _type), cancellationToken));
        if (layer.InputWrapper is { } input)
        {
            _inputBlock = input.BlockSize;
            if (WrapperFragments.Fit(input))
            {
                _inputFragments = Own(run.Upload(new WrapperFragments(input, _type), cancellationToken));
            }
            else
            {
                InputRows = RowMatrix.Of(run, this, input.RoundedTo(_type), cancellationToken);
            }
        }

        if (layer.OutputWrapper is { } output)
        {
            _outputBlock = output.BlockSize;
            if (WrapperFragments.FitsBlockOfRows(output))
            {
                _outputFragments = Own(run.Upload(new WrapperFragments(output, _type), cancellationToken));
            }
            else
            {
                OutputRows = RowMatrix.Of(run, this, output.RoundedTo(_type), cancellationToken);
            }
        }
    }
}
