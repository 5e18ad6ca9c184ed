// From a checkpoint to an ONNX model that is pruned, and text from it: export, prune on what ONNX Runtime finds the weights to see, generate.
// Usage: dotnet run [MODEL [OUT [TEXT]]]; OUT must be missing or empty, TEXT is what to calibrate on.
using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Onnx.Calibration;
using Armor.Onnx.Export;
using Armor.Onnx.Pruning;
using Armor.Runtime.Tokenization;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

const int Tokens = 12;
string checkpoint = args.Length > 0 ? args[0] : "../../assets/armor-tiny";
string output = args.Length > 1 ? args[1] : Path.Combine(Directory.CreateTempSubdirectory("onnx-prune-").FullName, "onnx");
string text = args.Length > 2 ? args[2] : Path.Combine(checkpoint, "calibration.txt");

// A checkpoint as ONNX. Any other ONNX model, with inputs to run it on, would do as well.
OnnxExportReport exported = await OnnxExporter.ExportAsync(checkpoint, output);
string dense = Path.Combine(output, OnnxExporter.ModelFileName);
Console.WriteLine($"Exported: {exported.Linears} linears; logits differ from TorchSharp's by {exported.Verification!.Largest:0.0e+0}.");

// Pruned.
string[] texts = [.. File.ReadAllText(text).Split("\n\n").Take(16)];
string pruned = Path.Combine(output, "pruned.onnx");
var options = new OnnxPrunerOptions { Pruner = ArmorPrunerOptions.Fast, Calibration = CalibrationMode.Dense };
OnnxPruningReport report = await OnnxPruner.PruneAsync(dense, pruned, OnnxCalibration.FromTexts(dense, output, texts), options);
Console.WriteLine($"Pruned: {report.Linears.Count} weights, {report.Skipped.Count} left as they are, loss {report.Linears.Average(linear => linear.Loss):0.0000} on average.");

// The same words from both.
ModelTokenizer tokenizer = ModelTokenizer.Load(output);
foreach (string model in new[] { dense, pruned })
{
    Console.WriteLine($"{Path.GetFileName(model)}: {Generate(model, tokenizer, "Once upon a time")}");
}

// The likeliest token again and again. Keys and values of the past go from each run's outputs to the next run's inputs.
static string Generate(string path, ModelTokenizer tokenizer, string prompt)
{
    using var session = new InferenceSession(path);
    List<int> tokens = [.. tokenizer.Encode(prompt, addBeginOfSequence: true)];
    List<NamedOnnxValue> past =
    [
        .. session.InputNames.Where(name => name.StartsWith("past_key_values.", StringComparison.Ordinal)).Select(name =>
        {
            int[] shape = session.InputMetadata[name].Dimensions;
            return NamedOnnxValue.CreateFromTensor(name, new DenseTensor<float>([1, shape[1], 0, shape[3]]));
        }),
    ];
    int known = 0;
    for (int step = 0; step < Tokens; step++)
    {
        long[] latest = [.. tokens.Skip(known).Select(token => (long)token)];
        long[] mask = [.. Enumerable.Repeat(1L, tokens.Count)];
        using IDisposableReadOnlyCollection<DisposableNamedOnnxValue> results = session.Run(
        [
            NamedOnnxValue.CreateFromTensor("input_ids", new DenseTensor<long>(latest, [1, latest.Length])),
            NamedOnnxValue.CreateFromTensor("attention_mask", new DenseTensor<long>(mask, [1, mask.Length])),
            .. past,
        ]);
        known = tokens.Count;
        float[] logits = results.First(result => result.Name == "logits").AsTensor<float>().ToArray();
        float[] last = logits[^(logits.Length / latest.Length)..];
        tokens.Add(Array.IndexOf(last, last.Max()));
        past = [.. past.Select(value => NamedOnnxValue.CreateFromTensor(
            value.Name, results.First(result => result.Name == value.Name.Replace("past_key_values", "present")).AsTensor<float>().ToDenseTensor()))];
    }

    return tokenizer.Decode(tokens);
}
