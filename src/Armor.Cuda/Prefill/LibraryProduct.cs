using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;
using Armor.Cuda.Packing;
using Armor.Runtime.Checkpoints;

namespace Armor.Cuda.Prefill;

/// <summary>
/// A layer in the forms of NVIDIA's libraries, beside our own form and made from it on the device: the core compressed by cuSPARSELt, the wrappers
/// row-major for cuBLASLt. It takes as much memory again. The vectors between factors are rounded to the weight's type, as in our own kernels, and so is
/// an 8-bit core's value times its scale.
/// </summary>
internal sealed class LibraryProduct
{
    /// <summary>Inputs a piece; a larger batch is cut.</summary>
    public const int MostInputs = 2048;

    // Batches are filled up to this, so that a search serves many.
    private const int InputMultiple = 64;

    private readonly PrefillLibraries _libraries;
    private readonly FragmentProduct _source;
    private readonly DeviceMemory _core;
    private readonly DeviceMemory? _inputBlocks;
    private readonly DeviceMemory? _outputBlocks;

    /// <param name="run">Its stream is used, and waited for.</param>
    /// <param name="libraries">Give plans.</param>
    /// <param name="source">Fits the libraries; takes the memory over.</param>
    /// <exception cref="CudaException">A library refuses, or there is too little memory.</exception>
    public LibraryProduct(DeviceRun run, PrefillLibraries libraries, FragmentProduct source)
    {
        (_libraries, _source) = (libraries, source);
        using (var dense = run.Device.Allocate((long)source.Rows * source.Columns * sizeof(ushort)))
        {
            dense.Fill(0, run.Stream);
            var chunks = Fragments.ChunksOf(source.Columns);
            run.Launch(
                KernelNames.Expand(source.Form, source.TypeName), (uint)Fragments.TilesOf(source.Rows), (uint)chunks, 1, Fragments.Lanes,
                new ExpandArguments { Weight = source.Weight, Output = dense.Address, Rows = source.Rows, Columns = source.Columns, Chunks = chunks });
            _core = source.Own(libraries.Sparse(source.Rows, source.Columns, InputMultiple, source.Type).Compress(run, dense));
        }

        _inputBlocks = RowMajor(run, source.InputFragments, source.Columns);
        _outputBlocks = RowMajor(run, source.OutputFragments, source.Rows);
    }

    /// <summary>Queues y = A·(S·(B·x)), all on the device, in float32 at both ends.</summary>
    public void Multiply(DeviceRun run, nint input, int batch, nint output)
    {
        for (var first = 0; first < batch; first += MostInputs)
        {
            MultiplyPiece(
                run,
                input + ((nint)first * _source.Columns * sizeof(float)),
                Math.Min(MostInputs, batch - first),
                output + ((nint)first * _source.Rows * sizeof(float)));
        }
    }

    private static void Convert(DeviceRun run, string kernel, nint input, nint output, long count, long padded) => run.Launch(
        kernel, checked((uint)((padded + 255) / 256)), 1, 1, 256, new ConvertArguments { Input = input, Output = output, Count = (ulong)count, Padded = (ulong)padded });

    private void MultiplyPiece(DeviceRun run, nint input, int batch, nint output)
    {
        var inputs = (batch + InputMultiple - 1) / InputMultiple * InputMultiple;
        var number = _source.Type == TensorElementType.BFloat16 ? SparseLtNumbers.Real16BF : SparseLtNumbers.Real16F;
        var (rows, columns) = (_source.Rows, _source.Columns);
        var x = run.Scratch(ScratchUse.LibraryInput, (long)inputs * columns * sizeof(ushort)).Address;
        Convert(run, KernelNames.Narrow(_source.TypeName), input, x, (long)batch * columns, (long)inputs * columns);
        if (_inputBlocks is not null)
        {
            var inner = run.Scratch(ScratchUse.LibraryInner, (long)inputs * columns * sizeof(ushort)).Address;
            var block = _source.InputFragments!.Value.Block;
            _libraries.Blas(new BlockShape(columns / block, block, block, inputs, number, number)).Multiply(run, _inputBlocks.Address, x, inner);
            x = inner;
        }

        var y = run.Scratch(ScratchUse.LibraryOutput, (long)inputs * rows * sizeof(ushort)).Address;
        _libraries.Sparse(rows, columns, inputs, _source.Type).Multiply(run, _core, x, y);
        if (_outputBlocks is not null)
        {
            var block = _source.OutputFragments!.Value.Block;
            _libraries.Blas(new BlockShape(rows / block, block, block, batch, number, SparseLtNumbers.Real32F)).Multiply(run, _outputBlocks.Address, y, output);
        }
        else
        {
            Convert(run, KernelNames.Widen(_source.TypeName), y, output, (long)batch * rows, (long)batch * rows);
        }
    }

    private DeviceMemory? RowMajor(DeviceRun run, (nint Address, int Block)? fragments, int size)
    {
        if (fragments is not { } from)
        {
            return null;
        }

        var memory = _source.Own(run.Device.Allocate((long)size * from.Block * sizeof(ushort)));
        run.Launch(
            KernelNames.ExpandFragments, (uint)Fragments.TilesOf(size), (uint)(from.Block / 16), 1, Fragments.Lanes,
            new ExpandArguments { Weight = from.Address, Output = memory.Address, Rows = size, Columns = from.Block, Chunks = from.Block / 16 });
        return memory;
    }
}
