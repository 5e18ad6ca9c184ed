using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;

namespace Armor.Cuda.Decoding;

/// <summary>
/// Passes of one token a sequence, recorded once for each number of sequences. Kernels read tokens, positions and pages from the card's memory, so a recording
/// serves every token of every sequence, however long; it is made anew only when memory that it uses has moved.
/// </summary>
internal sealed class RecordedPasses : IDisposable
{
    /// <summary>The most sequences of a recording; larger batches have enough work for their launches to hide behind.</summary>
    public const int MostRows = 16;

    private readonly Recording[] _recordings = [.. Enumerable.Range(0, MostRows + 1).Select(_ => new Recording())];

    /// <summary>How many recordings have been made.</summary>
    public int Count { get; private set; }

    /// <summary>Queues a pass: the first time as it comes, which allocates all scratch memory, then recorded.</summary>
    /// <param name="run">The stream.</param>
    /// <param name="rows">At most <see cref="MostRows"/>.</param>
    /// <param name="version">Of the memory that the work uses, but for the run's scratch.</param>
    /// <param name="work">Queues the pass; the same kernels for the same number of rows.</param>
    public void Queue(DeviceRun run, int rows, int version, Action work)
    {
        var recording = _recordings[rows];
        if (recording.Versions != (run.ScratchVersion, version))
        {
            recording.Dispose();
            work();
            recording.Versions = (run.ScratchVersion, version);
            return;
        }

        if (recording.Graph is null)
        {
            recording.Graph = CudaGraph.Capture(run.Device, run.Stream, work);
            Count++;
        }

        recording.Graph.Launch(run.Stream);
    }

    /// <inheritdoc/>
    public void Dispose() => Array.ForEach(_recordings, recording => recording.Dispose());

    private sealed class Recording : IDisposable
    {
        public CudaGraph? Graph { get; set; }

        /// <summary>Of the scratch and the other memory when the work ran last.</summary>
        public (int Scratch, int Other) Versions { get; set; } = (-1, -1);

        public void Dispose()
        {
            Graph?.Dispose();
            Graph = null;
            Versions = (-1, -1);
        }
    }
}
