using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;
using Armor.Runtime.Checkpoints;

namespace Armor.Cuda.Prefill;

/// <summary>
/// D = S·Xᵀ for one core and one number of inputs: S is 2:4, [rows, columns], row-major; X is [inputs, columns] and D [inputs, rows], both row-major, which
/// the library sees as transposed and as column-major. The algorithm is searched for on first use.
/// </summary>
internal sealed unsafe class SparseLtPlan : IDisposable
{
    /// <summary>Rows and columns of S of 16 bits are multiples of this.</summary>
    public const int SparseMultiple = 16;

    /// <summary>Inputs are filled up to a multiple of this; the library wants 8.</summary>
    public const int InputMultiple = 16;

    private const uint Alignment = 16;

    private readonly SparseLtHandle _handle;
    private readonly OpaqueStructure _core;
    private readonly OpaqueStructure _inputs;
    private readonly OpaqueStructure _outputs;
    private readonly OpaqueStructure _matmul;
    private readonly OpaqueStructure _selection;
    private readonly OpaqueStructure _plan;
    private readonly string _what;
    private bool _isSearched;

    /// <param name="handle">The library.</param>
    /// <param name="rows">A multiple of 16.</param>
    /// <param name="columns">A multiple of 16.</param>
    /// <param name="inputs">A multiple of 16.</param>
    /// <param name="type">BFloat16 or Float16.</param>
    /// <exception cref="CudaException">The library refuses; names the call and the shape.</exception>
    public SparseLtPlan(SparseLtHandle handle, int rows, int columns, int inputs, TensorElementType type)
    {
        _handle = handle;
        _what = $"{rows}×{columns}, {inputs} inputs, {type}";
        var library = handle.Library;
        _core = new OpaqueStructure(library.MatDescriptorDestroy);
        _inputs = new OpaqueStructure(library.MatDescriptorDestroy);
        _outputs = new OpaqueStructure(library.MatDescriptorDestroy);
        _matmul = new OpaqueStructure(null);
        _selection = new OpaqueStructure(library.AlgorithmSelectionDestroy);
        _plan = new OpaqueStructure(library.PlanDestroy);
        try
        {
            var number = type == TensorElementType.BFloat16 ? SparseLtNumbers.Real16BF : SparseLtNumbers.Real16F;
            Init(
                _core, "cusparseLtStructuredDescriptorInit",
                library.StructuredDescriptorInit(handle.Address, _core.Address, rows, columns, columns, Alignment, number, SparseLtNumbers.OrderRow, SparseLtNumbers.FiftyPercent));
            Init(
                _inputs, "cusparseLtDenseDescriptorInit",
                library.DenseDescriptorInit(handle.Address, _inputs.Address, inputs, columns, columns, Alignment, number, SparseLtNumbers.OrderRow));
            Init(
                _outputs, "cusparseLtDenseDescriptorInit",
                library.DenseDescriptorInit(handle.Address, _outputs.Address, rows, inputs, rows, Alignment, number, SparseLtNumbers.OrderColumn));
            Init(
                _matmul, "cusparseLtMatmulDescriptorInit",
                library.MatmulDescriptorInit(
                    handle.Address, _matmul.Address, SparseLtNumbers.NotTransposed, SparseLtNumbers.Transposed, _core.Address, _inputs.Address, _outputs.Address, _outputs.Address,
                    SparseLtNumbers.Compute32F));
            Init(
                _selection, "cusparseLtMatmulAlgSelectionInit",
                library.AlgorithmSelectionInit(handle.Address, _selection.Address, _matmul.Address, SparseLtNumbers.DefaultAlgorithm));
            Init(_plan, "cusparseLtMatmulPlanInit", library.PlanInit(handle.Address, _plan.Address, _matmul.Address, _selection.Address));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Compresses a core; plans for other numbers of inputs take the result too.</summary>
    /// <param name="run">Its stream is used, and waited for.</param>
    /// <param name="dense">[rows, columns], row-major, with its zeros.</param>
    /// <exception cref="CudaException">The library refuses, or does not find 2:4.</exception>
    public DeviceMemory Compress(DeviceRun run, DeviceMemory dense)
    {
        var library = _handle.Library;
        using var valid = run.Device.Allocate(sizeof(int));
        _handle.Check("cusparseLtSpMMAPruneCheck", library.PruneCheck(_handle.Address, _matmul.Address, dense.Address, valid.Address, run.Stream.Handle), _what);
        var staging = run.Staging(sizeof(int));
        valid.CopyTo(staging, sizeof(int), run.Stream);
        run.Stream.Synchronize();
        if (staging.AsSpan<int>(1)[0] != 0)
        {
            throw new CudaException($"cuSPARSELt does not find a core of {_what} to be 2:4.");
        }

        _handle.Check("cusparseLtSpMMACompressedSize", library.CompressedSize(_handle.Address, _plan.Address, out var bytes, out var bufferBytes), _what);
        var compressed = run.Device.Allocate((long)bytes);
        try
        {
            using var buffer = run.Device.Allocate(Math.Max(16, (long)bufferBytes));
            _handle.Check(
                "cusparseLtSpMMACompress", library.Compress(_handle.Address, _plan.Address, dense.Address, compressed.Address, buffer.Address, run.Stream.Handle), _what);
            run.Stream.Synchronize();
            return compressed;
        }
        catch
        {
            compressed.Dispose();
            throw;
        }
    }

    /// <summary>Queues the product.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="compressed">As <see cref="Compress"/> gives it.</param>
    /// <param name="input">[inputs, columns], 16 bits.</param>
    /// <param name="output">[inputs, rows], 16 bits.</param>
    public void Multiply(DeviceRun run, DeviceMemory compressed, nint input, nint output)
    {
        var library = _handle.Library;
        float one = 1, zero = 0;
        var stream = run.Stream.Handle;
        if (!_isSearched)
        {
            // Runs every algorithm, writes the output, and leaves the best one in the plan, which may want another workspace.
            _handle.Check(
                "cusparseLtMatmulSearch",
                library.Search(_handle.Address, _plan.Address, &one, compressed.Address, input, &zero, output, output, Workspace(run), &stream, 1), _what);
            _isSearched = true;
        }

        _handle.Check(
            "cusparseLtMatmul", library.Matmul(_handle.Address, _plan.Address, &one, compressed.Address, input, &zero, output, output, Workspace(run), &stream, 1), _what);
    }

    public void Dispose()
    {
        _plan.Dispose();
        _selection.Dispose();
        _matmul.Dispose();
        _outputs.Dispose();
        _inputs.Dispose();
        _core.Dispose();
    }

    private nint Workspace(DeviceRun run)
    {
        _handle.Check("cusparseLtMatmulGetWorkspace", _handle.Library.GetWorkspace(_handle.Address, _plan.Address, out var bytes), _what);
        return bytes == 0 ? 0 : run.Scratch(ScratchUse.Workspace, (long)bytes).Address;
    }

    private void Init(OpaqueStructure structure, string call, int status)
    {
        _handle.Check(call, status, _what);
        structure.Initialised(call);
    }
}
