using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Runtime.Checkpoints;

namespace Armor.Cuda.Prefill;

/// <summary>cuSPARSELt and cuBLASLt on one card, with the plans of every shape so far: weights of one shape share them. One caller at a time.</summary>
internal sealed class PrefillLibraries : IDisposable
{
    private readonly SparseLtHandle _sparse;
    private readonly BlasLtHandle _blas;
    private readonly Dictionary<(int Rows, int Columns, int Inputs, TensorElementType Type), SparseLtPlan> _sparsePlans = [];
    private readonly Dictionary<BlockShape, BlasLtPlan> _blasPlans = [];

    /// <exception cref="CudaException">A library does not start.</exception>
    public PrefillLibraries(ISparseLt sparse, IBlasLt blas, CudaDevice device)
    {
        _sparse = new SparseLtHandle(sparse, device);
        try
        {
            _blas = new BlasLtHandle(blas, device);
        }
        catch
        {
            _sparse.Dispose();
            throw;
        }
    }

    public Version SparseVersion => _sparse.Version;

    public string? SparseWarning => _sparse.Warning;

    public SparseLtPlan Sparse(int rows, int columns, int inputs, TensorElementType type)
    {
        var key = (rows, columns, inputs, type);
        return _sparsePlans.TryGetValue(key, out var plan) ? plan : _sparsePlans[key] = new SparseLtPlan(_sparse, rows, columns, inputs, type);
    }

    public BlasLtPlan Blas(BlockShape shape) => _blasPlans.TryGetValue(shape, out var plan) ? plan : _blasPlans[shape] = new BlasLtPlan(_blas, shape);

    public void Dispose()
    {
        foreach (var plan in _sparsePlans.Values)
        {
            plan.Dispose();
        }

        foreach (var plan in _blasPlans.Values)
        {
            plan.Dispose();
        }

        _blas.Dispose();
        _sparse.Dispose();
    }
}
