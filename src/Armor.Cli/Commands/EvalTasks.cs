using System.CommandLine;
using System.CommandLine.Parsing;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation.Tasks;
using Armor.Core.Evaluation.Tasks.Results;
using Armor.Core.Evaluation.Tasks.Scoring;
using Armor.Core.Modules;
using Armor.Runtime.Tokenization;

namespace Armor.Cli.Commands;

/// <summary><c>armor eval --tasks</c>: a model on tasks, alone or beside another.</summary>
internal sealed class EvalTasks(Option<string> against, Option<string> device)
{
    private readonly Option<string> tasks = new("--tasks")
    {
        Description = $"Tasks separated by commas: {string.Join(", ", TaskRunner.TaskNames)}, mmlu_SUBJECT, bbh_TASK.",
        HelpName = "NAMES",
    };

    private readonly Option<string> data = new("--task-data") { Description = "A folder with a folder a data set.", HelpName = "FOLDER" };

    private readonly Option<string[]> paths = new("--task-path")
    {
        Description = "Where one data set lies, a folder or a file; may be repeated.",
        HelpName = "NAME=PATH",
    };

    private readonly Option<int?> shots = Numbers.Integer("--num-fewshot", "N", "Examples before each question (default: each task's own number).", minimum: 0);
    private readonly Option<int?> limit = Numbers.Integer("--limit", "N", "Only the first N rows of a task.", minimum: 1);
    private readonly Option<string> markdown = new("--markdown") { Description = "Write the tables to a Markdown file.", HelpName = "FILE" };
    private readonly Option<string> samples = new("--samples") { Description = "Write every row with its prompts and answers, a file a task.", HelpName = "FOLDER" };
    private readonly Option<string> chart = new("--chart") { Description = "Draw the accuracies to a PNG file.", HelpName = "FILE" };
    private readonly Option<string> work = new("--work") { Description = "Keep answers here as they come; the same command goes on from them.", HelpName = "FOLDER" };
    private readonly Option<int?> workers = Numbers.Integer("--workers", "N", "Questions answered at a time, each on one thread (default: one a processor, or one on a card); 1 answers one at a time on all threads.", minimum: 1);
    private readonly Option<bool> torch = new("--torch") { Description = "Score by the TorchSharp model instead of the runtime." };
    private readonly Option<bool> noSharing = new("--no-sharing") { Description = "Give each choice a forward pass of its own, to measure what sharing saves; one at a time with --workers 1." };

    internal void AddTo(Command command)
    {
        foreach (Option option in (Option[])[tasks, data, paths, shots, limit, markdown, samples, chart, work, workers, torch, noSharing])
        {
            command.Add(option);
        }
    }

    internal bool AreAsked(SymbolResult parsed) => parsed.GetResult(tasks) is not null;

    internal bool AreAsked(ParseResult parsed) => parsed.GetValue(tasks) is not null;

    internal async Task RunAsync(CommandSession session, ParseResult parsed, string folder)
    {
        string[] names = parsed.GetValue(tasks)!.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string? other = parsed.GetValue(against) is { } given ? ModelFolder.Existing(given) : null;
        if (parsed.GetValue(torch) && parsed.GetValue(noSharing))
        {
            throw new UsageException("--no-sharing measures the runtime; it does not go with --torch.");
        }

        int? card = DeviceOption.Read(parsed, device);
        if (parsed.GetValue(torch) && card is not null)
        {
            throw new UsageException($"{DeviceOption.Name} is where the runtime runs; it does not go with --torch.");
        }

        var options = new TaskRunOptions
        {
            Folder = parsed.GetValue(data),
            Paths = ParsePaths(parsed.GetValue(paths) ?? []),
            Shots = parsed.GetValue(shots),
            Limit = parsed.GetValue(limit),
        };
        if (options.Folder is null && options.Paths.Count == 0)
        {
            throw new UsageException("--tasks needs --task-data FOLDER or --task-path NAME=PATH.");
        }

        (TaskReport report, TaskReport? reference) = await session.RunAsync("Tasks", steps =>
        {
            TaskReport first = Evaluate(folder, steps);
            return (first, other is null ? null : Evaluate(other, steps));
        }).ConfigureAwait(false);
        IReadOnlyList<TaskComparison>? comparisons = reference is null ? null : TaskComparison.Compare(report, reference);
        if (parsed.GetValue(samples) is { } kept)
        {
            report.WriteSamples(kept);
            reference?.WriteSamples(Path.Combine(kept, "reference"));
        }

        if (parsed.GetValue(markdown) is { } file)
        {
            File.WriteAllText(file + ".partial", TaskOutput.ToMarkdown(report, reference, comparisons));
            File.Move(file + ".partial", file, overwrite: true);
        }

        if (parsed.GetValue(chart) is { } picture)
        {
            TaskChart.Write(report, reference, picture + ".partial.png");
            File.Move(picture + ".partial.png", picture, overwrite: true);
        }

        session.Write(() => TaskOutput.ToJson(report, reference, comparisons), console => TaskOutput.Print(console, report, reference, comparisons));

        TaskReport Evaluate(string one, IProgress<Step> steps)
        {
            string identity = ModelFolder.Identity(one);
            TaskRunOptions own = options with
            {
                ModelIdentity = identity,
                WorkFolder = parsed.GetValue(work) is { } root ? Path.Combine(root, identity[..16]) : null,
            };
            var progress = new TaskSteps(steps);
            if (parsed.GetValue(torch))
            {
                using CausalLanguageModel model = CausalLanguageModel.Load(one);
                using var scoring = new TorchScoringModel(model, ModelTokenizer.Load(one));
                return TaskRunner.Run(scoring, names, own, progress, session.CancellationToken);
            }

            // A card does one pass at a time.
            int count = parsed.GetValue(workers) ?? (card is null ? Environment.ProcessorCount : 1);
            using LoadedModel loaded = LoadedModel.Load(one, count == 1 ? null : 1, card, session.CancellationToken);
            using var runtime = new ArmorScoringModel(loaded.Model, count) { SharesPrefixes = !parsed.GetValue(noSharing) };
            return TaskRunner.Run(runtime, names, own, progress, session.CancellationToken);
        }
    }

    private static Dictionary<string, string> ParsePaths(string[] given)
    {
        var parsed = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string each in given)
        {
            int mark = each.IndexOf('=', StringComparison.Ordinal);
            if (mark < 1 || mark == each.Length - 1)
            {
                throw new UsageException($"--task-path must be NAME=PATH; found '{each}'.");
            }

            parsed[each[..mark]] = each[(mark + 1)..];
        }

        return parsed;
    }

    private sealed class TaskSteps(IProgress<Step> steps) : IProgress<TaskProgress>
    {
        public void Report(TaskProgress value) => steps.Report(Step.Timed(
            (double)value.Rows / value.TotalRows, Numbers.Invariant($"{value.Task}, {value.Rows}/{value.TotalRows} rows"), value.Elapsed));
    }
}
