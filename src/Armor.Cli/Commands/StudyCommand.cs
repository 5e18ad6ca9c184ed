using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Armor.Cli.Demo;
using Armor.Cli.Hosting;
using Armor.Cli.Studies;
using Armor.Core.Evaluation;
using Armor.Core.Pruning;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor study</c>: how much a choice in pruning matters, on the embedded model unless told otherwise.</summary>
internal static class StudyCommand
{
    private const int Runs = 3;
    private const int Sequences = 128;
    private const int QuickSequences = 16;

    private static readonly Dictionary<string, ArmorPrunerOptions> Presets = new(StringComparer.Ordinal)
    {
        ["fast"] = ArmorPrunerOptions.Fast,
        ["balanced"] = ArmorPrunerOptions.Balanced,
    };

    internal static Command Create(CommandHost host) => new("study", "Prunes a model in several ways and shows how much a choice matters.")
    {
        Create(host, "calibration", "Calibration texts and their sizes.", defaultSizes: "16,64,128"),
        Create(host, "selection", "How groups of the core are chosen, for several numbers of steps.", defaultSizes: "30,100,300"),
        Create(host, "block-size", "The wrappers' block size.", defaultSizes: "4,8,16,32"),
    };

    private static Command Create(CommandHost host, string name, string description, string defaultSizes)
    {
        var model = new Option<string>("--model") { Description = "A dense model folder (default: the embedded model).", HelpName = "MODEL" };
        var calibration = new Option<string[]>("--calibration") { Description = "Text to calibrate on; for `calibration` it may be repeated.", HelpName = "FILE" };
        var evaluation = new Option<string>("--evaluation") { Description = "Text to measure on.", HelpName = "FILE" };
        var sizes = new Option<string>("--sizes") { Description = $"Whole numbers separated by commas (default {defaultSizes}).", HelpName = "LIST" };
        Option<int?> runs = Numbers.Integer("--runs", "N", $"Runs of each setting, on other parts of the text or from other seeds (default {Runs}).", minimum: 1);
        Option<int?> sequences = Numbers.Integer("--sequences", "N", $"Sequences to measure on (default {Sequences}).", minimum: 1);
        var preset = new Option<string>("--preset") { Description = "How much work the optimiser does.", DefaultValueFactory = _ => "fast" };
        preset.AcceptOnlyFromAmong([.. Presets.Keys]);
        var quick = new Option<bool>("--quick") { Description = "A short form: fewer settings, steps and sequences." };
        var chart = new Option<string>("--chart") { Description = "Draw the runs to a PNG file.", HelpName = "FILE" };
        var work = new Option<string>("--work") { Description = "Keep finished runs here; the same command goes on from them.", HelpName = "FOLDER" };
        var documents = new TextOptions();
        var command = new Command(name, description) { model, calibration, evaluation, sizes, runs, sequences, preset, quick, chart, work };
        documents.AddTo(command);
        command.SetAction((parsed, cancellationToken) => host.RunNativeAsync(parsed, cancellationToken, async session =>
        {
            bool isQuick = parsed.GetValue(quick);
            string[] texts = parsed.GetValue(calibration) ?? [];
            DemoSource source = parsed.GetValue(model) is { } folder
                ? new DemoSource(
                    ModelFolder.Existing(folder),
                    texts.FirstOrDefault() ?? throw new UsageException("--model needs --calibration and --evaluation."),
                    parsed.GetValue(evaluation) ?? throw new UsageException("--model needs --calibration and --evaluation."))
                : DemoSource.Embedded();
            if (texts.Length == 0)
            {
                texts = [source.Calibration];
            }

            int[] numbers = ParseSizes(parsed.GetValue(sizes) ?? (isQuick ? defaultSizes[..defaultSizes.LastIndexOf(',')] : defaultSizes));
            int count = parsed.GetValue(runs) ?? (isQuick ? 1 : Runs);
            IReadOnlyList<string> first = documents.ReadDocuments(parsed, texts[0]);
            ArmorPrunerOptions options = Presets[parsed.GetValue(preset)!];
            IReadOnlyList<StudyVariant> variants = name switch
            {
                "calibration" => StudyPlans.Calibration(
                    [.. texts.Select(text => (Path.GetFileName(text), documents.ReadDocuments(parsed, text)))], numbers, count, options),
                "selection" => StudyPlans.Selection(isQuick ? [.. first.Take(QuickSequences)] : first, numbers, count),
                _ => StudyPlans.BlockSize(isQuick ? [.. first.Take(QuickSequences)] : first, numbers, count, options),
            };
            string measured = parsed.GetValue(evaluation) ?? source.Evaluation;
            int[][] evaluated = [.. TextCorpus.TokenizeDocuments(
                documents.ReadDocuments(parsed, measured), ModelTokenizer.Load(source.Model), ModelConfiguration.Load(source.Model).ContextLength)
                .Take(parsed.GetValue(sequences) ?? (isQuick ? QuickSequences : Sequences))];
            using var finished = new StudyWork(parsed.GetValue(work), ModelFolder.Identity(source.Model), evaluated);
            StudyResult result = await session.RunAsync("Study", steps =>
                new StudyRunner(name, source.Model, evaluated, finished).RunAsync(variants, steps, session.CancellationToken)).ConfigureAwait(false);
            if (parsed.GetValue(chart) is { } picture)
            {
                StudyChart.Write(result, picture + ".partial.png");
                File.Move(picture + ".partial.png", picture, overwrite: true);
            }

            session.Write(() => ToJson(result), console => Print(console, result));
        }));
        return command;
    }

    private static int[] ParseSizes(string text)
    {
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        int[] sizes = [.. parts.Select(part => int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int size) ? size : 0)];
        return Array.TrueForAll(sizes, size => size > 0) ? sizes : throw new UsageException($"--sizes must be whole numbers above 0, separated by commas; found '{text}'.");
    }

    private static JsonObject ToJson(StudyResult result) => new()
    {
        ["study"] = result.Name,
        ["model"] = result.Model,
        ["denseNll"] = result.DenseNll,
        ["standardError"] = result.StandardError,
        ["rows"] = new JsonArray([.. result.Rows.Select(row => (JsonNode)new JsonObject
        {
            ["setting"] = row.Setting,
            ["storage"] = row.Storage,
            ["deltaNll"] = row.Mean,
            ["standardDeviation"] = row.Deviation,
            ["runs"] = new JsonArray([.. row.DeltaNlls.Select(value => (JsonNode)value)]),
            ["seconds"] = row.Seconds,
            ["optimiserSeconds"] = row.OptimiserSeconds,
        })]),
    };

    private static void Print(IAnsiConsole console, StudyResult result)
    {
        Table table = Tables.OfNumbers("Setting", "Storage", "Runs", "ΔNLL, nats a token", "Deviation", "Least", "Most", "Seconds", "Optimiser s");
        foreach (StudyRow row in result.Rows)
        {
            table.AddRow(
                Markup.Escape(row.Setting),
                Numbers.Invariant($"{row.Storage:0.0000}"),
                Numbers.Invariant($"{row.DeltaNlls.Count}"),
                Numbers.Invariant($"{row.Mean:0.0000}"),
                row.Deviation is { } deviation ? Numbers.Invariant($"{deviation:0.0000}") : string.Empty,
                Numbers.Invariant($"{row.DeltaNlls.Min():0.0000}"),
                Numbers.Invariant($"{row.DeltaNlls.Max():0.0000}"),
                Numbers.Invariant($"{row.Seconds:0.0}"),
                Numbers.Invariant($"{row.OptimiserSeconds:0.0}"));
        }

        console.Write(table);
        console.WriteLine(Numbers.Invariant($"Dense NLL {result.DenseNll:0.0000}; a single run's standard error over the evaluated sequences is up to {result.StandardError:0.0000}."));
    }
}
