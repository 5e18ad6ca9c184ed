namespace Armor.Runtime.Checkpoints;

/// <summary>A linear as it is exported: a pruned one, or a fused one whose parts lie in the checkpoint by themselves.</summary>
/// <param name="Name">The name in the export, without <c>.weight</c>.</param>
/// <param name="Rows">d_out, of all parts together.</param>
/// <param name="Columns">d_in.</param>
/// <param name="Parts">The linears of the checkpoint, in the order of their rows.</param>
internal sealed record ExportedLinear(string Name, int Rows, int Columns, IReadOnlyList<string> Parts)
{
    /// <summary>Every linear that is not simply copied.</summary>
    public static IReadOnlyList<ExportedLinear> Of(ArmorCheckpoint checkpoint)
    {
        var fused = FusedTensors.Of(checkpoint.Base.Folder)
            .Select(fused => new ExportedLinear(
                fused.Name, fused.Parts.Sum(part => part.Rows), ColumnsOf(checkpoint, fused.Parts[0].Name), [.. fused.Parts.Select(part => part.Name)]))
            .ToList();
        var parts = fused.SelectMany(linear => linear.Parts).ToHashSet(StringComparer.Ordinal);
        var single = checkpoint.Layers
            .Where(layer => !parts.Contains(layer.Name))
            .Select(layer => new ExportedLinear(layer.Name, layer.Rows, layer.Columns, [layer.Name]));
        return [.. fused, .. single];
    }

    private static int ColumnsOf(ArmorCheckpoint checkpoint, string part) =>
        checkpoint.IsPruned(part) ? checkpoint.GetLayer(part).Columns : (int)checkpoint.Base.GetTensor(part + ".weight").Shape[1];
}
