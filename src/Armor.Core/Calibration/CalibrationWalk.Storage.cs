using Armor.Core.Calibration.Streams;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>Where the walk keeps its streams and the inputs of a group, and how it goes on from what an earlier walk has left.</summary>
internal sealed partial class CalibrationWalk
{
    private int Resume(int lastStart, CancellationToken cancellationToken)
    {
        if (folder is null)
        {
            return 0;
        }

        if (folder.Read() is { } boundary && boundary.Layer <= lastStart
            && TryResume(stream, Pruned) && (denseStream is null || TryResume(denseStream, Dense)))
        {
            folder.ClearAllBut(boundary.Layer, boundary.Hashes.Keys);
            return boundary.Layer;
        }

        stream.Restart();
        denseStream?.Restart();
        folder.Clear();
        return 0;

        bool TryResume(ResidualStream which, string name) =>
            boundary.Hashes.TryGetValue(name, out string[]? hashes) && which.TryResume(boundary.Layer, hashes, cancellationToken);
    }

    private ResidualStream NewStream(string name, int count) =>
        new(
            Shapes(model.Configuration.HiddenSize),
            storage.StreamBytes / count,
            folder is null ? null : layerIndex => folder.FileOf(name, layerIndex),
            batch => model.Embed(batches[batch].Tokens));

    private BatchStore NewKept(string name, int columns, bool two) =>
        new(Shapes(columns), storage.KeptBytes / (two ? 2 : 1), folder is not null && storage.SpillKept ? folder.FileOf(name, 0) : null);

    private long[][] Shapes(int width) => [.. batches.Select(batch => (long[])[.. batch.Tokens.shape, width])];

    private void DropKept()
    {
        kept?.Clear();
        denseKept?.Clear();
        kept = denseKept = null;
    }

    private bool KeepsAll(BatchStore? store) => store is not null && Enumerable.Range(0, batches.Count).All(store.Keeps);
}
