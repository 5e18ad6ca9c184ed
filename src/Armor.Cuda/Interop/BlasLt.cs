using System.Runtime.InteropServices;

namespace Armor.Cuda.Interop;

/// <summary>cuBLASLt's own functions.</summary>
internal sealed unsafe class BlasLt : IBlasLt
{
    private readonly delegate* unmanaged<nint*, int> _create;
    private readonly delegate* unmanaged<nint, int> _destroy;
    private readonly delegate* unmanaged<nint*, int, int, int> _descriptorCreate;
    private readonly delegate* unmanaged<nint, int, void*, nuint, int> _descriptorSet;
    private readonly delegate* unmanaged<nint, int> _descriptorDestroy;
    private readonly delegate* unmanaged<nint*, int, ulong, ulong, long, int> _layoutCreate;
    private readonly delegate* unmanaged<nint, int, void*, nuint, int> _layoutSet;
    private readonly delegate* unmanaged<nint, int> _layoutDestroy;
    private readonly delegate* unmanaged<nint*, int> _preferenceCreate;
    private readonly delegate* unmanaged<nint, int, void*, nuint, int> _preferenceSet;
    private readonly delegate* unmanaged<nint, int> _preferenceDestroy;
    private readonly delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, BlasLtHeuristic*, int*, int> _heuristic;
    private readonly delegate* unmanaged<nint, nint, void*, nint, nint, nint, nint, void*, nint, nint, nint, nint, BlasLtAlgorithm*, nint, nuint, nint, int> _matmul;

    /// <param name="library">The loaded library.</param>
    /// <exception cref="EntryPointNotFoundException">A function is missing.</exception>
    public BlasLt(nint library)
    {
        _create = (delegate* unmanaged<nint*, int>)Export("cublasLtCreate");
        _destroy = (delegate* unmanaged<nint, int>)Export("cublasLtDestroy");
        _descriptorCreate = (delegate* unmanaged<nint*, int, int, int>)Export("cublasLtMatmulDescCreate");
        _descriptorSet = (delegate* unmanaged<nint, int, void*, nuint, int>)Export("cublasLtMatmulDescSetAttribute");
        _descriptorDestroy = (delegate* unmanaged<nint, int>)Export("cublasLtMatmulDescDestroy");
        _layoutCreate = (delegate* unmanaged<nint*, int, ulong, ulong, long, int>)Export("cublasLtMatrixLayoutCreate");
        _layoutSet = (delegate* unmanaged<nint, int, void*, nuint, int>)Export("cublasLtMatrixLayoutSetAttribute");
        _layoutDestroy = (delegate* unmanaged<nint, int>)Export("cublasLtMatrixLayoutDestroy");
        _preferenceCreate = (delegate* unmanaged<nint*, int>)Export("cublasLtMatmulPreferenceCreate");
        _preferenceSet = (delegate* unmanaged<nint, int, void*, nuint, int>)Export("cublasLtMatmulPreferenceSetAttribute");
        _preferenceDestroy = (delegate* unmanaged<nint, int>)Export("cublasLtMatmulPreferenceDestroy");
        _heuristic = (delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, BlasLtHeuristic*, int*, int>)Export("cublasLtMatmulAlgoGetHeuristic");
        _matmul = (delegate* unmanaged<nint, nint, void*, nint, nint, nint, nint, void*, nint, nint, nint, nint, BlasLtAlgorithm*, nint, nuint, nint, int>)Export("cublasLtMatmul");

        // 120301 is 12.3.1; since 12 a number of six digits, before of five.
        var number = (long)((delegate* unmanaged<nuint>)Export("cublasLtGetVersion"))();
        Version = number >= 100000 ? new Version((int)(number / 10000), (int)(number / 100 % 100), (int)(number % 100)) : new Version((int)(number / 1000), (int)(number / 100 % 10), (int)(number % 100));

        nint Export(string name) => NativeLibrary.GetExport(library, name);
    }

    public Version Version { get; }

    public int Create(out nint handle)
    {
        fixed (nint* p = &handle)
        {
            return _create(p);
        }
    }

    public int Destroy(nint handle) => _destroy(handle);

    public int MatmulDescriptorCreate(out nint descriptor, int computeType, int scaleType)
    {
        fixed (nint* p = &descriptor)
        {
            return _descriptorCreate(p, computeType, scaleType);
        }
    }

    public int MatmulDescriptorSet(nint descriptor, int attribute, void* value, nuint bytes) => _descriptorSet(descriptor, attribute, value, bytes);

    public int MatmulDescriptorDestroy(nint descriptor) => _descriptorDestroy(descriptor);

    public int LayoutCreate(out nint layout, int type, ulong rows, ulong columns, long leading)
    {
        fixed (nint* p = &layout)
        {
            return _layoutCreate(p, type, rows, columns, leading);
        }
    }

    public int LayoutSet(nint layout, int attribute, void* value, nuint bytes) => _layoutSet(layout, attribute, value, bytes);

    public int LayoutDestroy(nint layout) => _layoutDestroy(layout);

    public int PreferenceCreate(out nint preference)
    {
        fixed (nint* p = &preference)
        {
            return _preferenceCreate(p);
        }
    }

    public int PreferenceSet(nint preference, int attribute, void* value, nuint bytes) => _preferenceSet(preference, attribute, value, bytes);

    public int PreferenceDestroy(nint preference) => _preferenceDestroy(preference);

    public int Heuristic(nint handle, nint descriptor, nint a, nint b, nint c, nint d, nint preference, int wanted, BlasLtHeuristic* results, out int found)
    {
        fixed (int* p = &found)
        {
            return _heuristic(handle, descriptor, a, b, c, d, preference, wanted, results, p);
        }
    }

    public int Matmul(
        nint handle, nint descriptor, float* alpha, nint a, nint aLayout, nint b, nint bLayout, float* beta, nint c, nint cLayout, nint d, nint dLayout, BlasLtAlgorithm* algorithm,
        nint workspace, nuint workspaceBytes, nint stream)
        => _matmul(handle, descriptor, alpha, a, aLayout, b, bLayout, beta, c, cLayout, d, dLayout, algorithm, workspace, workspaceBytes, stream);
}
