using System.CommandLine;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Cli.Natives;
using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Core.Recovery;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor prune</c>: a dense model folder in, an ARMOR folder out; or an ONNX file in and out.</summary>
internal static class PruneCommand
{
    private static readonly Dictionary<string, PruningMethod> Methods = new(StringComparer.Ordinal)
    {
        ["armor"] = PruningMethod.Armor,
        ["dense24"] = PruningMethod.Dense24,
        ["sparsegpt"] = PruningMethod.SparseGpt,
        ["nowag-p"] = PruningMethod.NoWagP,
        ["wanda"] = PruningMethod.Wanda,
        ["magnitude"] = PruningMethod.Magnitude,
    };

    private static readonly Dictionary<string, ArmorPrunerOptions> Presets = new(StringComparer.Ordinal)
    {
        ["paper"] = ArmorPrunerOptions.Paper,
        ["fast"] = ArmorPrunerOptions.Fast,
        ["balanced"] = ArmorPrunerOptions.Balanced,
        ["quality"] = ArmorPrunerOptions.Quality,
    };

    private static readonly Dictionary<string, CalibrationMode> Modes = new(StringComparer.Ordinal)
    {
        ["sequential"] = CalibrationMode.Sequential,
        ["dense"] = CalibrationMode.Dense,
    };

    // None: as the wrappers.
    private static readonly Dictionary<string, TensorElementType?> CoreTypes = new(StringComparer.Ordinal)
    {
        ["float"] = null,
        ["int8"] = TensorElementType.Int8,
    };

    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("dense; or an ONNX file");
        var output = new Option<string>("--out") { Description = "The folder to write; new or empty. Of an ONNX model a new file.", HelpName = "DIR", Required = true };
        var calibration = new Option<string>("--calibration")
        {
            Description = "Text like that which the model will see; for ONNX models also .npz or .npy, or a folder of such, each the inputs of one run.",
            HelpName = "FILE",
            Required = true,
        };
        var documents = new TextOptions();
        Option<int?> samples = Numbers.Integer("--samples", "N", "Calibrate on the first N documents (default 128).", minimum: 1);
        Option<string> method = Choice("--method", "How to prune", Methods.Keys, "armor");
        Option<string> preset = Choice("--preset", "How much work the optimiser does", Presets.Keys, "balanced");
        Option<SparsityPattern?> pattern = Numbers.Create<SparsityPattern>(
            "--pattern", "N:M", "Keep N of each M consecutive weights of a row (default 2:4, the pattern that hardware multiplies by).",
            _ => true, $"a pattern N:M with 1 ≤ N < M ≤ {SparsityPattern.LargestGroup}");
        Option<string> coreType = Choice(
            "--core-type", "How kept values are stored: as the wrappers, or as 8-bit integers with a scale for each 256 columns of a row", CoreTypes.Keys, "float");
        Option<int?> blockSize = Numbers.Integer("--block-size", "N", "The wrappers' block size: each dimension gets its largest divisor up to this.", minimum: 1);
        Option<double?> budget = Numbers.Create<double>(
            "--budget", "SHARE", "What the wrappers may add to a plain sparse weight, as a share of the dense one (default 0.0625).",
            value => value is >= 0 and <= 1, "a number from 0 to 1");
        Option<string> mode = Choice("--calibrate", "Whose activations a layer is pruned on: those of the layers pruned before it, or the dense model's", Modes.Keys, "sequential");
        Option<long?> seed = Numbers.Create<long>("--seed", "N", "The seed of all random choices (default 0).", _ => true, "a whole number");
        Option<int?> gradientTokens = Numbers.Integer(
            "--gradient-tokens", "N", "Calibration tokens of the backward pass that weighs a layer's outputs (default 32768; 0 for none).", minimum: 0);
        var noOrder = new Option<bool>("--no-order") { Description = "Leave the MLPs' inner channels in their order instead of bringing like ones together." };
        var uniformBlocks = new Option<bool>("--uniform-blocks")
        {
            Description = "Give every linear wrappers of the same size instead of sharing their storage out by short trials.",
        };
        Option<long?> memory = Numbers.Size("--memory", "What the run may take in memory, such as 6GB; activations that do not fit go to disk (default: 70 % of what is free).");
        Option<long?> shard = Numbers.Size("--shard-size", "The most bytes of tensors in one file of the output (default 2GB).");
        var dryRun = new Option<bool>("--dry-run") { Description = "Tell what the run will take in time, memory and disk, and do nothing." };
        var recover = new Option<bool>("--recover")
        {
            Description = "Fine-tune the pruned model on all documents afterwards, as `armor recover` does.",
        };
        Option<int?> recoverySteps = Numbers.Integer("--recover-steps", "N", $"Steps of that over the whole model (default {new RecoveryOptions().Steps}).", minimum: 0);
        var resume = new Option<bool>("--resume") { Description = "Go on where an interrupted run to the same folder stopped." };

        var onnx = new OnnxPruneArguments();
        var command = new Command("prune", "Prunes a model to 2:4 or another N:M sparsity.") { model, output, calibration };
        documents.AddTo(command);
        foreach (Option option in (Option[])
            [samples, method, preset, pattern, coreType, blockSize, budget, mode, gradientTokens, noOrder, uniformBlocks, seed, memory, shard, dryRun, recover, recoverySteps, resume])
        {
            command.Add(option);
        }

        onnx.AddTo(command);
        command.SetAction((parsed, cancellationToken) => host.RunNativeAsync(parsed, cancellationToken, async session =>
        {
            if (parsed.GetValue(blockSize) is not null && parsed.GetValue(budget) is not null)
            {
                throw new UsageException("--block-size and --budget exclude each other.");
            }

            if (parsed.GetValue(memory) is not null)
            {
                NativeHeap.KeepSmall();
            }

            ModelPrunerOptions standard = new();
            int gradients = parsed.GetValue(gradientTokens) ?? standard.GradientTokens;
            ArmorPrunerOptions basis = Presets[parsed.GetValue(preset)!];
            int sampleCount = parsed.GetValue(samples) ?? standard.MaxSamples;
            var options = new ModelPrunerOptions
            {
                Pruner = basis with
                {
                    Method = Methods[parsed.GetValue(method)!],
                    Pattern = parsed.GetValue(pattern) ?? SparsityPattern.TwoFour,
                    BlockSize = parsed.GetValue(blockSize),
                    StorageBudget = parsed.GetValue(budget) ?? ArmorPrunerOptions.DefaultStorageBudget,
                    GradientWeighting = basis.GradientWeighting && gradients > 0,
                    OrderChannels = basis.OrderChannels && !parsed.GetValue(noOrder),
                    Seed = parsed.GetValue(seed) ?? 0,
                },
                Calibration = Modes[parsed.GetValue(mode)!],
                AllocateBlocks = !parsed.GetValue(uniformBlocks),
                CoreStorage = CoreTypes[parsed.GetValue(coreType)!],
                MaxSamples = sampleCount,
                GradientTokens = Math.Max(1, gradients),
                MemoryBudget = parsed.GetValue(memory),
                ShardBytes = parsed.GetValue(shard) ?? standard.ShardBytes,
                Resume = parsed.GetValue(resume),
            };
            Check(options);

            string source = parsed.GetRequiredValue(model);
            string target = parsed.GetRequiredValue(output);
            bool isOnnx = OnnxPruneArguments.IsOnnx(source);
            onnx.Check(parsed, isOnnx, coreType, gradientTokens, noOrder, uniformBlocks, shard, dryRun, recover, recoverySteps, resume);
            if (isOnnx)
            {
                await onnx.PruneAsync(session, parsed, source, target, parsed.GetRequiredValue(calibration), documents, options).ConfigureAwait(false);
                return;
            }

            string folder = ModelFolder.Existing(source);
            IReadOnlyList<string> texts = documents.ReadDocuments(parsed, parsed.GetRequiredValue(calibration));
            if (parsed.GetValue(dryRun))
            {
                PruningEstimate estimate = await ModelPruner.EstimateAsync(
                    folder, target, [.. texts.Take(sampleCount)], options, session.CancellationToken).ConfigureAwait(false);
                session.Write(() => EstimateOutput.ToJson(estimate), console => EstimateOutput.Print(console, estimate));
                return;
            }

            bool recovers = parsed.GetValue(recover);
            string pruned = recovers ? PrunedThenRecovered.FolderOf(target, options.Resume) : target;
            ModelPruningReport? report = null;
            if (!recovers || !PrunedThenRecovered.IsPruned(pruned, options.Resume))
            {
                report = await Workspaces.RunAsync(session, pruned, () => session.RunAsync("Pruning", steps => ModelPruner.PruneAsync(
                    folder, pruned, [.. texts.Take(sampleCount)], options, new PruningSteps(steps, givesBack: options.MemoryBudget is not null), session.CancellationToken))).ConfigureAwait(false);
            }

            var recoveryOptions = new RecoveryOptions { Steps = parsed.GetValue(recoverySteps) ?? new RecoveryOptions().Steps, Resume = options.Resume };
            RecoveryReport? recovery = recovers
                ? await PrunedThenRecovered.RecoverAsync(session, folder, target, texts, recoveryOptions).ConfigureAwait(false)
                : null;
            session.Write(() => ToJson(report, recovery), console => Print(console, report, recovery, target));
        }));
        return command;
    }

    private static JsonObject ToJson(ModelPruningReport? report, RecoveryReport? recovery)
    {
        JsonObject json = report is null ? [] : ToJson(report);
        if (recovery is not null)
        {
            json["recovery"] = RecoveryOutput.ToJson(recovery);
        }

        return json;
    }

    private static void Print(IAnsiConsole console, ModelPruningReport? report, RecoveryReport? recovery, string target)
    {
        if (report is not null)
        {
            Print(console, report);
        }

        if (recovery is not null)
        {
            RecoveryOutput.Print(console, recovery);
        }

        console.WriteLine($"Written to {target}");
    }

    private static Option<string> Choice(string name, string description, IReadOnlyCollection<string> values, string standard)
    {
        var option = new Option<string>(name)
        {
            Description = description + ".",
            HelpName = string.Join('|', values),
            DefaultValueFactory = _ => standard,
        };
        return option.AcceptOnlyFromAmong([.. values]);
    }

    private static void Check(ModelPrunerOptions options)
    {
        try
        {
            options.Validate();
        }
        catch (ArgumentException exception)
        {
            throw new UsageException(exception.Message.ReplaceLineEndings(" "));
        }
    }

    private static JsonObject ToJson(ModelPruningReport report) =>
        PruningOutput.ToJson(report.Linears.Select(PruningLine.Of), report.Bytes, report.DenseBytes, report.Seconds);

    private static void Print(IAnsiConsole console, ModelPruningReport report)
    {
        PruningOutput.Print(console, [.. report.Linears.Select(PruningLine.Of)]);
        string share = Numbers.Invariant($"{(double)report.Bytes / report.DenseBytes:0.0000}");
        console.WriteLine(Numbers.Invariant($"{report.Linears.Count} linears in {Numbers.Seconds(report.Seconds)}: ")
            + $"{StorageTypes.Describe(report.Storage, report.CoreStorage)}, {Numbers.Bytes(report.Bytes)}, "
            + $"{share} of {Numbers.Bytes(report.DenseBytes)} dense in bfloat16.");
        if (report.Noted.Any())
        {
            console.WriteLine($"{report.Noted.Count()} of {report.Linears.Count} linears needed damping or a fall-back, or had unusual input: see above.");
        }
    }
}
