using System.CommandLine;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor inspect</c>: what a model folder holds, without reading its weights.</summary>
internal static class InspectCommand
{
    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("dense or ARMOR");
        var command = new Command("inspect", "Shows what a model folder holds.") { model };
        command.SetAction((parsed, cancellationToken) => host.RunAsync(parsed, cancellationToken, session =>
        {
            string folder = ModelFolder.Existing(parsed.GetRequiredValue(model));
            Contents contents = ArmorCheckpoint.IsArmor(folder) ? ReadArmor(folder) : ReadDense(folder);
            session.Write(() => ToJson(contents), console => Print(console, contents));
            return Task.CompletedTask;
        }));
        return command;
    }

    private static Contents ReadArmor(string folder)
    {
        using ArmorCheckpoint checkpoint = ArmorCheckpoint.Open(folder);
        CheckpointVerification.Verify(checkpoint);
        return new Contents(checkpoint.Base.Configuration, (checkpoint.ElementType, checkpoint.CoreType), checkpoint.Pattern, checkpoint.Layers, Total(checkpoint.Base));
    }

    private static Contents ReadDense(string folder)
    {
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder);
        CheckpointVerification.Verify(checkpoint);
        return new Contents(checkpoint.Configuration, null, null, [], Total(checkpoint));
    }

    private static long Total(CheckpointFolder folder) => folder.Tensors.Values.Sum(tensor => tensor.ByteCount);

    /// <summary>In bfloat16, as <c>armor prune</c> counts it, whatever type the source had.</summary>
    private static long DenseBytes(ArmorLayerDescription layer) => 2L * layer.Rows * layer.Columns;

    private static JsonObject ToJson(Contents contents) => new()
    {
        ["family"] = contents.Configuration.Family.ToString(),
        ["pattern"] = contents.Pattern?.ToString(),
        ["elementType"] = contents.Storage?.Wrappers.SafetensorsName(),
        ["coreType"] = contents.Storage?.Core.SafetensorsName(),
        ["layers"] = new JsonArray([.. contents.Layers.Select(layer => (JsonNode)new JsonObject
        {
            ["name"] = layer.Name,
            ["rows"] = layer.Rows,
            ["columns"] = layer.Columns,
            ["outputBlock"] = layer.OutputBlock ?? 1,
            ["inputBlock"] = layer.InputBlock ?? 1,
            ["bytes"] = layer.Bytes,
            ["denseBytes"] = DenseBytes(layer),
        })]),
        ["bytes"] = contents.Layers.Sum(layer => layer.Bytes),
        ["denseBytes"] = contents.Layers.Sum(DenseBytes),
        ["totalBytes"] = contents.TotalBytes,
    };

    private static void Print(IAnsiConsole console, Contents contents)
    {
        ModelConfiguration sizes = contents.Configuration;
        console.WriteLine(Numbers.Invariant($"{sizes.Family}: {sizes.LayerCount} layers, hidden {sizes.HiddenSize}, intermediate {sizes.IntermediateSize}, ")
            + (sizes.Experts is { } experts ? Numbers.Invariant($"{experts.Count} experts ({experts.PerToken} a token), ") : string.Empty)
            + Numbers.Invariant($"{sizes.AttentionHeadCount} heads ({sizes.KeyValueHeadCount} for keys and values) of {sizes.HeadSize}, ")
            + Numbers.Invariant($"vocabulary {sizes.VocabularySize}, context {sizes.ContextLength}; {Numbers.Bytes(contents.TotalBytes)} of weights."));
        if (contents.Layers.Count == 0)
        {
            console.WriteLine("Dense: no linear is pruned.");
            return;
        }

        Table table = Tables.OfNumbers("Linear", "Weights", "Blocks", "Size", "Dense", "Share");

        foreach (ArmorLayerDescription layer in contents.Layers)
        {
            table.AddRow(
                layer.Name,
                Numbers.Invariant($"{layer.Rows} × {layer.Columns}"),
                Numbers.Invariant($"{layer.OutputBlock ?? 1}, {layer.InputBlock ?? 1}"),
                Numbers.Bytes(layer.Bytes),
                Numbers.Bytes(DenseBytes(layer)),
                Numbers.Invariant($"{(double)layer.Bytes / DenseBytes(layer):0.0000}"));
        }

        console.Write(table);
        long bytes = contents.Layers.Sum(layer => layer.Bytes);
        long dense = contents.Layers.Sum(DenseBytes);
        (TensorElementType wrappers, TensorElementType core) = contents.Storage!.Value;
        console.WriteLine(
            Numbers.Invariant($"{contents.Layers.Count} pruned linears, {contents.Pattern} in {StorageTypes.Describe(wrappers, core)}: {Numbers.Bytes(bytes)}, ")
            + Numbers.Invariant($"{(double)bytes / dense:0.0000} of {Numbers.Bytes(dense)} dense in bfloat16."));
    }

    private sealed record Contents(
        ModelConfiguration Configuration,
        (TensorElementType Wrappers, TensorElementType Core)? Storage,
        SparsityPattern? Pattern,
        IReadOnlyList<ArmorLayerDescription> Layers,
        long TotalBytes);
}
