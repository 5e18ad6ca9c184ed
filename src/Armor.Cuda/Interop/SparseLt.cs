using System.Runtime.InteropServices;

namespace Armor.Cuda.Interop;

/// <summary>cuSPARSELt's own functions.</summary>
internal sealed unsafe class SparseLt : ISparseLt
{
    private readonly delegate* unmanaged<nint, int> _init;
    private readonly delegate* unmanaged<nint, int> _destroy;
    private readonly delegate* unmanaged<nint, int*, int> _getVersion;
    private readonly delegate* unmanaged<nint, nint, long, long, long, uint, int, int, int> _denseDescriptorInit;
    private readonly delegate* unmanaged<nint, nint, long, long, long, uint, int, int, int, int> _structuredDescriptorInit;
    private readonly delegate* unmanaged<nint, int> _matDescriptorDestroy;
    private readonly delegate* unmanaged<nint, nint, int, int, nint, nint, nint, nint, int, int> _matmulDescriptorInit;
    private readonly delegate* unmanaged<nint, nint, nint, int, int> _algorithmSelectionInit;
    private readonly delegate* unmanaged<nint, int> _algorithmSelectionDestroy;
    private readonly delegate* unmanaged<nint, nint, nint, nint, int> _planInit;
    private readonly delegate* unmanaged<nint, int> _planDestroy;
    private readonly delegate* unmanaged<nint, nint, nuint*, int> _getWorkspace;
    private readonly delegate* unmanaged<nint, nint, nint, nint, nint, int> _pruneCheck;
    private readonly delegate* unmanaged<nint, nint, nuint*, nuint*, int> _compressedSize;
    private readonly delegate* unmanaged<nint, nint, nint, nint, nint, nint, int> _compress;
    private readonly delegate* unmanaged<nint, nint, float*, nint, nint, float*, nint, nint, nint, nint*, int, int> _search;
    private readonly delegate* unmanaged<nint, nint, float*, nint, nint, float*, nint, nint, nint, nint*, int, int> _matmul;
    private readonly delegate* unmanaged<int, byte*> _errorString;

    /// <param name="library">The loaded library.</param>
    /// <exception cref="EntryPointNotFoundException">A function is missing.</exception>
    public SparseLt(nint library)
    {
        _init = (delegate* unmanaged<nint, int>)Export("cusparseLtInit");
        _destroy = (delegate* unmanaged<nint, int>)Export("cusparseLtDestroy");
        _getVersion = (delegate* unmanaged<nint, int*, int>)Export("cusparseLtGetVersion");
        _denseDescriptorInit = (delegate* unmanaged<nint, nint, long, long, long, uint, int, int, int>)Export("cusparseLtDenseDescriptorInit");
        _structuredDescriptorInit = (delegate* unmanaged<nint, nint, long, long, long, uint, int, int, int, int>)Export("cusparseLtStructuredDescriptorInit");
        _matDescriptorDestroy = (delegate* unmanaged<nint, int>)Export("cusparseLtMatDescriptorDestroy");
        _matmulDescriptorInit = (delegate* unmanaged<nint, nint, int, int, nint, nint, nint, nint, int, int>)Export("cusparseLtMatmulDescriptorInit");
        _algorithmSelectionInit = (delegate* unmanaged<nint, nint, nint, int, int>)Export("cusparseLtMatmulAlgSelectionInit");
        _planInit = (delegate* unmanaged<nint, nint, nint, nint, int>)Export("cusparseLtMatmulPlanInit");
        _planDestroy = (delegate* unmanaged<nint, int>)Export("cusparseLtMatmulPlanDestroy");
        _getWorkspace = (delegate* unmanaged<nint, nint, nuint*, int>)Export("cusparseLtMatmulGetWorkspace");
        _pruneCheck = (delegate* unmanaged<nint, nint, nint, nint, nint, int>)Export("cusparseLtSpMMAPruneCheck");
        _compressedSize = (delegate* unmanaged<nint, nint, nuint*, nuint*, int>)Export("cusparseLtSpMMACompressedSize");
        _compress = (delegate* unmanaged<nint, nint, nint, nint, nint, nint, int>)Export("cusparseLtSpMMACompress");
        _search = (delegate* unmanaged<nint, nint, float*, nint, nint, float*, nint, nint, nint, nint*, int, int>)Export("cusparseLtMatmulSearch");
        _matmul = (delegate* unmanaged<nint, nint, float*, nint, nint, float*, nint, nint, nint, nint*, int, int>)Export("cusparseLtMatmul");

        // Both since 0.8: before, a selection held nothing to be given back.
        _algorithmSelectionDestroy = NativeLibrary.TryGetExport(library, "cusparseLtMatmulAlgSelectionDestroy", out var destroy) ? (delegate* unmanaged<nint, int>)destroy : null;
        _errorString = NativeLibrary.TryGetExport(library, "cusparseLtGetErrorString", out var describe) ? (delegate* unmanaged<int, byte*>)describe : null;

        nint Export(string name) => NativeLibrary.GetExport(library, name);
    }

    public int Init(nint handle) => _init(handle);

    public int Destroy(nint handle) => _destroy(handle);

    public int GetVersion(nint handle, out int version)
    {
        fixed (int* p = &version)
        {
            return _getVersion(handle, p);
        }
    }

    public int DenseDescriptorInit(nint handle, nint descriptor, long rows, long columns, long leading, uint alignment, int type, int order)
        => _denseDescriptorInit(handle, descriptor, rows, columns, leading, alignment, type, order);

    public int StructuredDescriptorInit(nint handle, nint descriptor, long rows, long columns, long leading, uint alignment, int type, int order, int sparsity)
        => _structuredDescriptorInit(handle, descriptor, rows, columns, leading, alignment, type, order, sparsity);

    public int MatDescriptorDestroy(nint descriptor) => _matDescriptorDestroy(descriptor);

    public int MatmulDescriptorInit(nint handle, nint matmul, int operationA, int operationB, nint a, nint b, nint c, nint d, int computeType)
        => _matmulDescriptorInit(handle, matmul, operationA, operationB, a, b, c, d, computeType);

    public int AlgorithmSelectionInit(nint handle, nint selection, nint matmul, int algorithm) => _algorithmSelectionInit(handle, selection, matmul, algorithm);

    public int AlgorithmSelectionDestroy(nint selection) => _algorithmSelectionDestroy is null ? 0 : _algorithmSelectionDestroy(selection);

    public int PlanInit(nint handle, nint plan, nint matmul, nint selection) => _planInit(handle, plan, matmul, selection);

    public int PlanDestroy(nint plan) => _planDestroy(plan);

    public int GetWorkspace(nint handle, nint plan, out nuint bytes)
    {
        fixed (nuint* p = &bytes)
        {
            return _getWorkspace(handle, plan, p);
        }
    }

    public int PruneCheck(nint handle, nint matmul, nint dense, nint valid, nint stream) => _pruneCheck(handle, matmul, dense, valid, stream);

    public int CompressedSize(nint handle, nint plan, out nuint bytes, out nuint bufferBytes)
    {
        fixed (nuint* p = &bytes, q = &bufferBytes)
        {
            return _compressedSize(handle, plan, p, q);
        }
    }

    public int Compress(nint handle, nint plan, nint dense, nint compressed, nint buffer, nint stream) => _compress(handle, plan, dense, compressed, buffer, stream);

    public int Search(nint handle, nint plan, float* alpha, nint a, nint b, float* beta, nint c, nint d, nint workspace, nint* streams, int streamCount)
        => _search(handle, plan, alpha, a, b, beta, c, d, workspace, streams, streamCount);

    public int Matmul(nint handle, nint plan, float* alpha, nint a, nint b, float* beta, nint c, nint d, nint workspace, nint* streams, int streamCount)
        => _matmul(handle, plan, alpha, a, b, beta, c, d, workspace, streams, streamCount);

    public string Describe(int status)
        => (_errorString is null ? null : Marshal.PtrToStringUTF8((nint)_errorString(status))) ?? status switch
        {
            1 => "CUSPARSE_STATUS_NOT_INITIALIZED",
            2 => "CUSPARSE_STATUS_ALLOC_FAILED",
            3 => "CUSPARSE_STATUS_INVALID_VALUE",
            4 => "CUSPARSE_STATUS_ARCH_MISMATCH",
            6 => "CUSPARSE_STATUS_EXECUTION_FAILED",
            7 => "CUSPARSE_STATUS_INTERNAL_ERROR",
            10 => "CUSPARSE_STATUS_NOT_SUPPORTED",
            11 => "CUSPARSE_STATUS_INSUFFICIENT_RESOURCES",
            _ => "unknown",
        };
}
