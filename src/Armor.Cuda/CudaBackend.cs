using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;
using Armor.Cuda.Prefill;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda;

/// <summary>
/// Multiplies on an NVIDIA card of compute capability 8.0 or later. Weights live in the card's memory. A missing driver, library or card is a state with
/// a reason, <see cref="Unavailable"/>, which <see cref="Supports"/> gives for everything: nothing falls back to the processor. Weights held as
/// BFloat16 or Float16 go to the tensor cores, whose inputs are rounded to the same type, as are the vectors between a layer's factors; sums are in
/// float32. Weights held as Float32, and cores of other patterns than 2:4, which are held as float32 whatever type is asked for, are multiplied by in float32,
/// slowly. Safe for use from several threads, one product at a time.
/// </summary>
public sealed partial class CudaBackend : KernelBackend
{
    private readonly CudaBackendOptions _options;
    private readonly Lock _gate = new();
    private readonly List<CudaLibrary> _libraries = [];
    private readonly CudaDevice? _device;
    private readonly CudaModule? _module;
    private readonly DeviceRun? _run;
    private readonly PrefillLibraries? _prefill;
    private bool _isDisposed;

    /// <summary>Opens a card, where there is one, and compiles the kernels for it, which takes some seconds the first time.</summary>
    /// <param name="options">Null for the defaults.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public CudaBackend(CudaBackendOptions? options = null)
    {
        _options = options ?? new CudaBackendOptions();
        _options.Validate();
        var search = new LibrarySearch(_options.LibraryFolders, _options.PythonPackages);
        Unavailable = OpenDriver(search, out var driver) ?? CudaDevice.TryOpen(driver!, _options.Device, out _device) ?? OpenCompiler(search, _device!, out var compiler)
            ?? LoadKernels(_device!, compiler!, _options, out _module, out _run);
        if (Unavailable is null)
        {
            _prefill = OpenPrefill(search, _device!, _libraries);
        }

        Name = NameOf(_device, Unavailable);
        ReleaseIfUnavailable();
    }

    /// <summary>For tests: a driver, a compiler and libraries of their own.</summary>
    internal CudaBackend(ICudaDriver driver, IKernelCompiler compiler, CudaBackendOptions options, ISparseLt? sparse = null, IBlasLt? blas = null)
    {
        _options = options;
        _options.Validate();
        Unavailable = CudaDevice.TryOpen(driver, options.Device, out _device) ?? LoadKernels(_device!, compiler, options, out _module, out _run);
        if (Unavailable is null && sparse is not null && blas is not null)
        {
            try
            {
                _prefill = new PrefillLibraries(sparse, blas, _device!);
            }
            catch
            {
                Release();
                throw;
            }
        }

        Name = NameOf(_device, Unavailable);
        ReleaseIfUnavailable();
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <summary>Why nothing can be multiplied here; null where it can.</summary>
    public string? Unavailable { get; }

    /// <summary>NVIDIA's libraries: where each was found and with which version, or every place where it was looked for.</summary>
    public IReadOnlyList<CudaLibrary> Libraries => _libraries;

    /// <summary>The card; null where there is none.</summary>
    internal CudaDevice? Device => _device;

    /// <summary>NVIDIA's libraries; null where one is missing.</summary>
    internal PrefillLibraries? Prefill => _prefill;

    /// <inheritdoc/>
    public override KernelSupport Supports(KernelOperation operation, KernelShape shape, TensorElementType elementType)
    {
        if (Unavailable is not null)
        {
            return KernelSupport.Unsupported(Unavailable);
        }

        return base.Supports(operation, shape, elementType);
    }

    /// <inheritdoc/>
    protected override KernelWeight PackDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Prepare(KernelOperation.Dense, elementType, run => elementType == TensorElementType.Float32
            ? RowProduct.OfDense(run, source, cancellationToken)
            : FragmentProduct.OfDense(run, source, elementType, _options.Splits, cancellationToken));
    }

    /// <inheritdoc/>
    protected override KernelWeight PackLayer(
        ArmorLayer layer, TensorElementType elementType, TensorElementType wrapperType, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(layer);
        var isInRows = elementType == TensorElementType.Float32 || layer.Core.Pattern != SparsityPattern.TwoFour;
        var heldAs = layer.Core.IsQuantised && !isInRows ? TensorElementType.Int8 : elementType;
        return Prepare(OperationOf(layer), heldAs, run => isInRows
            ? RowProduct.OfLayer(run, layer.Core.IsQuantised ? layer : layer.RoundedTo(elementType), cancellationToken)
            : FragmentProduct.OfLayer(run, layer, elementType, _options.Splits, PrefillFrom, cancellationToken));
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        lock (_gate)
        {
            if (disposing && !_isDisposed)
            {
                _isDisposed = true;
                Release();
            }
        }
    }

    /// <summary>Takes the card for this thread alone, until <see cref="Leave"/>.</summary>
    internal DeviceRun Enter()
    {
        _gate.Enter();
        if (_isDisposed)
        {
            _gate.Exit();
            throw new ObjectDisposedException(nameof(CudaBackend));
        }

        return _run!;
    }

    /// <summary>Lets others use the card.</summary>
    internal void Leave() => _gate.Exit();

    /// <summary>Gives memory back while nothing else runs; after the backend it is gone already.</summary>
    internal void Free(Action release)
    {
        lock (_gate)
        {
            release();
        }
    }

    private (PrefillLibraries Libraries, int Batch)? PrefillFrom => _prefill is null || _options.LibraryBatch == 0 ? null : (_prefill, _options.LibraryBatch);

    private static string NameOf(CudaDevice? device, string? unavailable)
        => device is null || unavailable is not null ? "CUDA, unavailable" : $"CUDA, {device.Name} ({device.Capability / 10}.{device.Capability % 10})";

    private static string? LoadKernels(CudaDevice device, IKernelCompiler compiler, CudaBackendOptions options, out CudaModule? module, out DeviceRun? run)
    {
        (module, run) = (null, null);
        try
        {
            var cache = new KernelCache(options.KernelCacheFolder);
            try
            {
                module = new CudaModule(device, cache.Get(KernelSource.All, device.Capability, compiler));
            }
            catch (CudaException exception) when (exception.Call == "cuModuleLoadData")
            {
                // A driver may have become older than what it once compiled for.
                cache.Remove(KernelSource.All, device.Capability, compiler);
                module = new CudaModule(device, cache.Get(KernelSource.All, device.Capability, compiler));
            }

            run = new DeviceRun(device, module);
            return null;
        }
        catch (CudaException exception)
        {
            return $"The kernels do not load on {device.Name}: {exception.Message}";
        }
    }

    private string? OpenDriver(LibrarySearch search, out ICudaDriver? driver)
    {
        driver = null;
        var (handle, report) = search.Load("CUDA driver", LibrarySearch.DriverNames);
        if (handle == 0)
        {
            _libraries.Add(report);
            return $"There is no CUDA driver: {string.Join("; ", report.Tried)}.";
        }

        try
        {
            driver = new CudaDriver(handle);
            var version = driver.DriverGetVersion(out var number) == 0 ? new Version(number / 1000, number % 1000 / 10) : null;
            _libraries.Add(report with { Version = version, Warning = KnownVersions.WarningOfDriver(version) });
            return null;
        }
        catch (EntryPointNotFoundException exception)
        {
            _libraries.Add(report with { Warning = "too old" });
            return $"The CUDA driver {report.Path} is too old: {exception.Message}";
        }
    }

    private string? OpenCompiler(LibrarySearch search, CudaDevice device, out IKernelCompiler? compiler)
    {
        compiler = null;
        var (handle, report) = search.Load("NVRTC", LibrarySearch.CompilerNames);
        if (handle == 0)
        {
            _libraries.Add(report);
            return $"There is no NVRTC, which compiles the kernels: {string.Join("; ", report.Tried)}.";
        }

        try
        {
            var own = new RuntimeCompiler(handle);
            compiler = own;
            _libraries.Add(report with { Version = own.Version, Warning = KnownVersions.WarningOfCompiler(own.Version, device.DriverVersion, device.Capability) });
            return null;
        }
        catch (Exception exception) when (exception is EntryPointNotFoundException or CudaException)
        {
            _libraries.Add(report with { Warning = "not usable" });
            return $"NVRTC ({report.Path}) is not usable: {exception.Message}";
        }
    }

    /// <summary>The libraries of large batches. Where one is missing, our own kernels do those too, and the report says why.</summary>
    internal static PrefillLibraries? OpenPrefill(LibrarySearch search, CudaDevice device, List<CudaLibrary> libraries)
    {
        var (blasHandle, blasReport) = search.Load("cuBLASLt", LibrarySearch.BlasLtNames);
        var (sparseHandle, sparseReport) = search.Load("cuSPARSELt", LibrarySearch.SparseLtNames);
        try
        {
            var blas = blasHandle == 0 ? null : new BlasLt(blasHandle);
            blasReport = blasReport with { Version = blas?.Version };
            var sparse = sparseHandle == 0 ? null : new SparseLt(sparseHandle);
            if (blas is null || sparse is null)
            {
                return null;
            }

            var prefill = new PrefillLibraries(sparse, blas, device);
            sparseReport = sparseReport with { Version = prefill.SparseVersion, Warning = prefill.SparseWarning };
            return prefill;
        }
        catch (Exception exception) when (exception is EntryPointNotFoundException or CudaException)
        {
            sparseReport = sparseReport with { Warning = $"not used: {exception.Message}" };
            return null;
        }
        finally
        {
            libraries.AddRange([blasReport, sparseReport]);
        }
    }

    private void ReleaseIfUnavailable()
    {
        if (Unavailable is not null)
        {
            Release();
        }
    }

    private void Release()
    {
        _prefill?.Dispose();
        _run?.Dispose();
        _module?.Dispose();
        _device?.Dispose();
    }

    private CudaWeight Prepare(KernelOperation operation, TensorElementType elementType, Func<DeviceRun, DeviceProduct> make)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            return new CudaWeight(this, operation, elementType, make(_run!));
        }
    }
}
