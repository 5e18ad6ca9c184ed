using Armor.Cli.Measuring;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Cli.Commands;

/// <summary>A model and the backend that it runs on.</summary>
internal sealed class LoadedModel : IDisposable
{
    private LoadedModel(ArmorModel model, IKernelBackend backend, int? threads)
    {
        Model = model;
        Backend = backend;
        Threads = threads;
    }

    internal ArmorModel Model { get; }

    internal IKernelBackend Backend { get; }

    /// <summary>The number of threads that multiply; null on a card.</summary>
    internal int? Threads { get; }

    internal static LoadedModel Load(string folder, int? threads, int? card, CancellationToken cancellationToken) =>
        Load(folder, threads, card, HeldTypes.Stored, cancellationToken);

    /// <param name="folder">Dense or ARMOR.</param>
    /// <param name="threads">Null for as many as there are processors.</param>
    /// <param name="card">The card to run on; null for the processor.</param>
    /// <param name="types">In which types parts are held.</param>
    /// <param name="cancellationToken">Checked while loading.</param>
    internal static LoadedModel Load(string folder, int? threads, int? card, HeldTypes types, CancellationToken cancellationToken)
    {
        var options = new CpuBackendOptions();
        options = options with { Threads = threads ?? options.Threads };
        IKernelBackend backend = card is { } number ? DeviceOption.Open(number) : new CpuBackend(options);
        try
        {
            return new LoadedModel(
                ArmorModel.Load(folder, new ArmorModelOptions { Backend = backend, HeadType = types.Head, WrapperType = types.Wrappers }, cancellationToken),
                backend,
                card is null ? options.Threads : null);
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
