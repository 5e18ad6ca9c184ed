using Armor.Runtime.Generation;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Cli.Commands;

/// <summary>A model and the backend that it runs on.</summary>
internal sealed class LoadedModel : IDisposable
{
    private LoadedModel(ArmorModel model, CpuBackend backend, int threads)
    {
        Model = model;
        Backend = backend;
        Threads = threads;
    }

    internal ArmorModel Model { get; }

    internal CpuBackend Backend { get; }

    /// <summary>The number of threads that multiply.</summary>
    internal int Threads { get; }

    internal static LoadedModel Load(string folder, int? threads, CancellationToken cancellationToken)
    {
        var options = new CpuBackendOptions();
        options = options with { Threads = threads ?? options.Threads };
        var backend = new CpuBackend(options);
        try
        {
            return new LoadedModel(ArmorModel.Load(folder, new ArmorModelOptions { Backend = backend }, cancellationToken), backend, options.Threads);
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Model.Dispose();
        Backend.Dispose();
    }
}
