using System.Diagnostics;
using System.Globalization;
using Armor.Cli.Natives;
using Armor.Core.Calibration;
using Armor.Core.Pruning;
using TorchSharp;

namespace Armor.Benchmarks.Scale;

/// <summary>
/// Makes a checkpoint of a large model's shape on the spot and prunes it under a memory budget: what it takes at its peak, and where the time goes.
/// </summary>
internal static class ScaleBenchmark
{
    public static async Task<int> RunAsync(string[] arguments)
    {
        var options = new Dictionary<string, string>();
        for (int i = 0; i < arguments.Length - 1; i += 2)
        {
            options.Add(arguments[i], arguments[i + 1]);
        }

        int threads = Number("--threads", 2);
        torch.set_num_threads(threads);
        NativeHeap.KeepSmall();
        ScaleShape full = ScaleShape.Llama7B;
        var shape = new ScaleShape(
            Number("--hidden", full.Hidden), Number("--intermediate", full.Intermediate), Number("--layers", 1), Number("--heads", full.Heads), Number("--vocabulary", full.Vocabulary));
        string folder = options.GetValueOrDefault("--folder", Path.Combine(Path.GetTempPath(), "armor-scale"));
        string model = Path.Combine(folder, "model");
        int samples = Number("--samples", 16);
        int length = Number("--length", 2048);
        int annealing = Number("--annealing", 2);
        long budget = (long)(double.Parse(options.GetValueOrDefault("--memory", "6"), CultureInfo.InvariantCulture) * 1e9);

        var clock = Stopwatch.StartNew();
        if (!File.Exists(Path.Combine(model, "model.safetensors.index.json")))
        {
            SyntheticCheckpoint.Write(model, shape, seed: 1);
            Note($"made the checkpoint: {Directory.GetFiles(model).Sum(file => new FileInfo(file).Length) / 1e9:f2} GB");
        }

        var pruner = ArmorPrunerOptions.Fast with
        {
            MaxDegreeOfParallelism = threads,
            Stages =
            [
                ArmorPrunerOptions.Fast.Stages[0] with { WarmUpCycles = 0, AnnealingCycles = annealing, PolishCycles = 1 },
                ArmorPrunerOptions.Fast.Stages[1] with { PolishCycles = Number("--polish", 1) },
            ],
        };
        var run = new ModelPrunerOptions
        {
            Pruner = pruner,
            AllocateBlocks = Number("--allocate", 0) != 0, // five cycles for each of six sizes are most of a run of so few
            MaxSamples = samples,
            MemoryBudget = budget,
            Resume = true,
            TokensPerBatch = Number("--batch", 4096),
            GradientTokens = Number("--gradient-tokens", 32768),
        };
        int[][] tokens = SyntheticCheckpoint.Tokens(samples, length, shape.Vocabulary, seed: 2);
        string output = Path.Combine(folder, "out");
        PruningEstimate estimate = await ModelPruner.EstimateTokensAsync(model, output, tokens, run);
        Note($"foretold: {estimate.Seconds:f0} s (calibration {estimate.CalibrationSeconds:f0}, pruning {estimate.PruningSeconds:f0}, files {estimate.FileSeconds:f0}), " +
            $"peak {estimate.PeakMemory / 1e9:f2} GB, work folder {estimate.WorkBytes / 1e9:f2} GB, output {estimate.OutputBytes / 1e9:f3} GB");
        NativeHeap.GiveBack();
        using var watch = new MemoryWatch();
        var report = await ModelPruner.PruneTokensAsync(model, output, tokens, run, new Phases(Note, watch));
        Note($"done: {report.Linears.Count} linears, of {report.Seconds:f0} s {report.Linears.Sum(linear => linear.Seconds):f0} s within linears");
        Note($"output {Directory.GetFiles(output).Sum(file => new FileInfo(file).Length) / 1e9:f3} GB");
        Note($"highest resident memory {watch.Peak / 1e9:f2} GB of a budget of {budget / 1e9:f2} GB (the estimate's own included: {MemoryWatch.Highest / 1e9:f2} GB)");
        return 0;

        int Number(string name, int standard) => options.TryGetValue(name, out string? text) ? int.Parse(text, CultureInfo.InvariantCulture) : standard;

        void Note(string text) => Console.WriteLine($"{clock.Elapsed.TotalSeconds,8:f1} s  {text}");
    }

    // Times of what lies between the progress records: calibration before a linear's first loss, pruning until it is finished.
    private sealed class Phases(Action<string> note, MemoryWatch watch) : IProgress<ModelPruningProgress>
    {
        private readonly Stopwatch phase = Stopwatch.StartNew();
        private string current = string.Empty;
        private bool measured;

        public void Report(ModelPruningProgress value)
        {
            if (value.Linear != current)
            {
                Tell("walk to " + value.Linear);
                current = value.Linear;
                measured = false;
            }
            else if (value.Finished)
            {
                Tell($"prune {value.Linear}, loss {value.Loss:f4}");
                NativeHeap.GiveBack();
            }
            else if (!measured && value.Loss is not null)
            {
                measured = true;
                Tell($"collect for {value.Linear}, with the first cycle");
            }
        }

        private void Tell(string what)
        {
            note($"{phase.Elapsed.TotalSeconds,8:f1} s, peak {watch.TakePeak() / 1e9:f2} GB: {what}");
            phase.Restart();
        }
    }
}
