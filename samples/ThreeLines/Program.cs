// The three lines of docs/architecture.md against the packed Armor.Core: one weight, a whole model, and text from the result.
// Usage: dotnet run [MODEL [OUT]]; OUT must be missing or empty.
using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Runtime.Generation;
using TorchSharp;

string model = args.Length > 0 ? args[0] : "../../assets/armor-tiny";
string output = args.Length > 1 ? args[1] : Path.Combine(Directory.CreateTempSubdirectory("three-lines-").FullName, "pruned");
string[] calibrationTexts =
[
    "Once upon a time there was a small house at the edge of a wood, and in it lived an old man with his cat.",
    "The rain had fallen all night, and in the morning the road to the village was a river of mud.",
    "\"You may come in,\" she said, \"but leave your boots at the door, for I have just washed the floor.\"",
    "He walked along the shore until the sun stood low over the water, thinking of nothing at all.",
];
var options = new ModelPrunerOptions { Pruner = ArmorPrunerOptions.Fast };
var progress = new LinesOfProgress();
CancellationToken cancellationToken = CancellationToken.None;

// One weight of 64 × 128, and the inputs that its layer sees.
using torch.Tensor weight = torch.randn(64, 128);
using torch.Tensor inputs = torch.randn(512, 128);
using ActivationStatistics statistics = ActivationStatistics.FromInputs(inputs);
PrunedWeight layer = ArmorPruner.Create(ArmorPrunerOptions.Balanced).Prune(weight, statistics);
Console.WriteLine($"One weight: loss {layer.StartLoss:0.0000} at the start, {layer.Loss:0.0000} at the end.");

// A whole model.
ModelPruningReport report = await ModelPruner.PruneAsync(model, output, calibrationTexts, options, progress, cancellationToken);
Console.WriteLine($"{report.Linears.Count} linears pruned: {report.Bytes} bytes instead of {report.DenseBytes}, in {output}");

// The result, without TorchSharp: Armor.Runtime is managed code only.
using ArmorModel pruned = ArmorModel.Load(output);
foreach (string piece in pruned.Generate("Once upon a time", new GenerationOptions { MaxTokens = 12 }))
{
    Console.Write(piece);
}

Console.WriteLine();

internal sealed class LinesOfProgress : IProgress<ModelPruningProgress>
{
    public void Report(ModelPruningProgress value)
    {
        if (value.Finished)
        {
            Console.WriteLine($"{value.Index} of {value.Count}: {value.Linear}");
        }
    }
}
