using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;

namespace Armor.Cuda.Prefill;

/// <summary>cuBLASLt on one card.</summary>
internal sealed class BlasLtHandle : IDisposable
{
    /// <exception cref="CudaException">The library does not start; says why.</exception>
    public BlasLtHandle(IBlasLt library, CudaDevice device)
    {
        Library = library;
        device.Use();
        Check("cublasLtCreate", library.Create(out var handle), device.Name);
        Address = handle;
    }

    public IBlasLt Library { get; }

    public nint Address { get; }

    /// <exception cref="CudaException">The status is not success.</exception>
    public static void Check(string call, int status, string detail = "")
    {
        if (status != 0)
        {
            throw new CudaException(call, status, BlasLtNumbers.Describe(status), detail);
        }
    }

    public void Dispose() => _ = Library.Destroy(Address);
}

/// <summary>The sizes of Y = X·Wᵀ for equal blocks W along a diagonal: a dense weight has one.</summary>
/// <param name="Blocks">Number of blocks.</param>
/// <param name="Rows">Of a block.</param>
/// <param name="Columns">Of a block.</param>
/// <param name="Inputs">Rows of X and Y.</param>
/// <param name="Type">CUDA's number of the type of W and X.</param>
/// <param name="OutputType">CUDA's number of the type of Y.</param>
internal readonly record struct BlockShape(int Blocks, int Rows, int Columns, int Inputs, int Type, int OutputType);

/// <summary>
/// Y = X·Wᵀ by cuBLASLt, all row-major: W is [blocks, rows, columns], X [inputs, blocks · columns], Y [inputs, blocks · rows]. The library thinks in columns: it
/// computes Yᵀ = W·Xᵀ, block by block as a strided batch whose matrices lie side by side in X and in Y.
/// </summary>
internal sealed unsafe class BlasLtPlan : IDisposable
{
    private const ulong MostWorkspace = 32 << 20;
    private const int MostAlgorithms = 8;

    private readonly BlasLtHandle _handle;
    private readonly BlockShape _shape;
    private readonly List<Action> _release = [];
    private readonly nint _descriptor;
    private readonly nint _weightLayout;
    private readonly nint _inputLayout;
    private readonly nint _outputLayout;
    private readonly BlasLtHeuristic[] _algorithms;

    /// <exception cref="CudaException">The library refuses; names the call and the shape.</exception>
    public BlasLtPlan(BlasLtHandle handle, BlockShape shape)
    {
        (_handle, _shape, _algorithms) = (handle, shape, []);
        var library = handle.Library;
        try
        {
            Check("cublasLtMatmulDescCreate", library.MatmulDescriptorCreate(out _descriptor, BlasLtNumbers.Compute32F, SparseLtNumbers.Real32F));
            _release.Add(() => library.MatmulDescriptorDestroy(_descriptor));
            var transposed = BlasLtNumbers.Transposed;
            Check("cublasLtMatmulDescSetAttribute", library.MatmulDescriptorSet(_descriptor, BlasLtNumbers.TransposeA, &transposed, sizeof(int)));
            _weightLayout = Layout(shape.Type, shape.Columns, shape.Rows, shape.Columns, (long)shape.Rows * shape.Columns);
            _inputLayout = Layout(shape.Type, shape.Columns, shape.Inputs, (long)shape.Blocks * shape.Columns, shape.Columns);
            _outputLayout = Layout(shape.OutputType, shape.Rows, shape.Inputs, (long)shape.Blocks * shape.Rows, shape.Rows);
            Check("cublasLtMatmulPreferenceCreate", library.PreferenceCreate(out var preference));
            _release.Add(() => library.PreferenceDestroy(preference));
            var most = MostWorkspace;
            Check("cublasLtMatmulPreferenceSetAttribute", library.PreferenceSet(preference, BlasLtNumbers.MostWorkspace, &most, sizeof(ulong)));
            var algorithms = new BlasLtHeuristic[MostAlgorithms];
            fixed (BlasLtHeuristic* p = algorithms)
            {
                Check(
                    "cublasLtMatmulAlgoGetHeuristic",
                    library.Heuristic(handle.Address, _descriptor, _weightLayout, _inputLayout, _outputLayout, _outputLayout, preference, MostAlgorithms, p, out var found));
                _algorithms = [.. algorithms.Take(found).Where(algorithm => algorithm.Status == 0)];
            }

            if (_algorithms.Length == 0)
            {
                throw new CudaException($"cuBLASLt has no algorithm for {shape}.");
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>How many algorithms the library proposes, the one first that it thinks fastest.</summary>
    public int Algorithms => _algorithms.Length;

    /// <summary>Which of them is used; 0 at first.</summary>
    public int Algorithm { get; set; }

    /// <summary>Queues the product.</summary>
    public void Multiply(DeviceRun run, nint weight, nint input, nint output)
    {
        float one = 1, zero = 0;
        var workspaceBytes = _algorithms[Algorithm].WorkspaceBytes;
        var workspace = workspaceBytes == 0 ? 0 : run.Scratch(ScratchUse.Workspace, (long)workspaceBytes).Address;
        fixed (BlasLtAlgorithm* algorithm = &_algorithms[Algorithm].Algorithm)
        {
            Check(
                "cublasLtMatmul",
                _handle.Library.Matmul(
                    _handle.Address, _descriptor, &one, weight, _weightLayout, input, _inputLayout, &zero, output, _outputLayout, output, _outputLayout, algorithm, workspace,
                    workspaceBytes, run.Stream.Handle));
        }
    }

    public void Dispose()
    {
        for (var i = _release.Count - 1; i >= 0; i--)
        {
            _release[i]();
        }

        _release.Clear();
    }

    private nint Layout(int type, int rows, int columns, long leading, long stride)
    {
        var library = _handle.Library;
        Check("cublasLtMatrixLayoutCreate", library.LayoutCreate(out var layout, type, (ulong)rows, (ulong)columns, leading));
        _release.Add(() => library.LayoutDestroy(layout));
        var blocks = _shape.Blocks;
        Check("cublasLtMatrixLayoutSetAttribute", library.LayoutSet(layout, BlasLtNumbers.BatchCount, &blocks, sizeof(int)));
        Check("cublasLtMatrixLayoutSetAttribute", library.LayoutSet(layout, BlasLtNumbers.BatchStride, &stride, sizeof(long)));
        return layout;
    }

    private void Check(string call, int status) => BlasLtHandle.Check(call, status, $"{_shape}");
}
