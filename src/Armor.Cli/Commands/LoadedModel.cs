using Armor.Runtime.Checkpoints;
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

    internal static LoadedModel Load(string folder, int? threads, CancellationToken cancellationToken) => Load(folder, threads, null, cancellationToken);

    /// <param name="folder">Dense or ARMOR.</param>
    /// <param name="threads">Null for as many as there are processors.</param>
    /// <param name="headType">The type in which the head is held; null for the stored one.</param>
    /// <param name="cancellationToken">Checked while loading.</param>
    internal static LoadedModel Load(string folder, int? threads, TensorElementType? headType, CancellationToken cancellationToken)
    {
        var options = new CpuBackendOptions();
        options = options with { Threads = threads ?? options.Threads };
        var backend = new CpuBackend(options);
        try
        {
            return new LoadedModel(ArmorModel.Load(folder, new ArmorModelOptions { Backend = backend, HeadType = headType }, cancellationToken), backend, options.Threads);
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
