using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Cli.Measuring;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor eval</c>: the perplexity of a dense or ARMOR model.</summary>
internal static class EvalCommand
{
    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("dense or ARMOR");
        var text = new Option<string>("--text") { Description = "The text to predict.", HelpName = "FILE" };
        var documents = new TextOptions();
        Option<int?> count = Numbers.Integer("--sequences", "N", "Use only the first N sequences.", minimum: 1);
        Option<int?> windows = Numbers.Integer(
            "--windows", "LENGTH", "Join the whole text and cut it into windows of LENGTH tokens (the WikiText-2 protocol), instead of documents.", minimum: 2);
        var against = new Option<string>("--against")
        {
            Description = "A second model of the same tokenizer, as a rule the dense one: tells the difference and its standard error.",
            HelpName = "MODEL",
        };
        const string asRun = "Measure the perplexity of the model as the runtime runs it, with the {0} held in this type, instead of in float32; "
            + "a model given by --against keeps its own as stored";
        var types = new HeldTypeOptions(
            string.Format(CultureInfo.InvariantCulture, asRun, "head"), string.Format(CultureInfo.InvariantCulture, asRun, "wrappers of pruned linears"));
        Option<string> device = DeviceOption.Create();
        var command = new Command("eval", "Measures a model's perplexity on a text, or its answers to tasks.") { model, text, count, windows, against, device };
        foreach (Option option in types.All)
        {
            command.Add(option);
        }

        documents.AddTo(command);
        var tasks = new EvalTasks(against, device);
        tasks.AddTo(command);
        command.Validators.Add(parsed =>
        {
            if (parsed.GetResult(text) is null && !tasks.AreAsked(parsed))
            {
                parsed.AddError("eval needs --text FILE, or --tasks with --task-data FOLDER.");
            }
        });
        command.SetAction((parsed, cancellationToken) => host.RunNativeAsync(parsed, cancellationToken, async session =>
        {
            if (tasks.AreAsked(parsed))
            {
                if (parsed.GetValue(text) is not null || parsed.GetValue(count) is not null || parsed.GetValue(windows) is not null || types.AreAsked(parsed))
                {
                    throw new UsageException("--tasks does not go with --text, --sequences, --windows, --head or --wrappers.");
                }

                await tasks.RunAsync(session, parsed, ModelFolder.Existing(parsed.GetRequiredValue(model))).ConfigureAwait(false);
                return;
            }

            bool cutsDocuments = parsed.GetResult(documents.MinimumLength) is not null || parsed.GetResult(documents.Separator) is { Implicit: false };
            if (parsed.GetValue(windows) is not null && cutsDocuments)
            {
                throw new UsageException("--windows joins the whole text; it does not go with --separator or --min-length.");
            }

            string folder = ModelFolder.Existing(parsed.GetRequiredValue(model));
            string file = parsed.GetRequiredValue(text);
            string? other = parsed.GetValue(against) is { } given ? ModelFolder.Existing(given) : null;
            (PerplexityResult result, PerplexityResult? reference, DocumentSequences measured) = await session.RunAsync("Evaluating", steps =>
            {
                ModelTokenizer tokenizer = ModelTokenizer.Load(folder);
                int context = ModelConfiguration.Load(folder).ContextLength;
                if (other is not null)
                {
                    RequireAlike(folder, other);
                }

                DocumentSequences cut = parsed.GetValue(windows) is { } length
                    ? Windows(TextOptions.ReadText(file), tokenizer, length, context, parsed.GetValue(count))
                    : TextCorpus.FitDocuments(documents.ReadDocuments(parsed, file), tokenizer, context, parsed.GetValue(count));
                int? card = DeviceOption.Read(parsed, device);
                return (Evaluate(folder, types.Read(parsed)), other is null ? null : Evaluate(other, HeldTypes.Stored), cut);

                PerplexityResult Evaluate(string one, HeldTypes held)
                {
                    if (types.AreAsked(parsed) || card is not null)
                    {
                        using LoadedModel running = LoadedModel.Load(one, threads: null, card, held, session.CancellationToken);
                        return RuntimePerplexity.Measure(running.Model, cut.Sequences, steps, session.CancellationToken);
                    }

                    using CausalLanguageModel loaded = CausalLanguageModel.Load(one);
                    return new PerplexityEvaluator(loaded).Evaluate(cut.Sequences, new EvaluationSteps(steps), session.CancellationToken);
                }
            }).ConfigureAwait(false);
            NllDifference? difference = reference is null ? null : result.Minus(reference);
            session.Write(() => ToJson(result, difference, measured), console => Print(console, result, difference, measured));
        }));
        return command;
    }

    private static void RequireAlike(string folder, string other)
    {
        ModelConfiguration one = ModelConfiguration.Load(folder);
        ModelConfiguration two = ModelConfiguration.Load(other);
        if ((one.VocabularySize, one.ContextLength) != (two.VocabularySize, two.ContextLength))
        {
            throw new UsageException(
                $"--against {other} has a vocabulary of {two.VocabularySize} and a context of {two.ContextLength} tokens; expected those of {folder}, "
                + $"{one.VocabularySize} and {one.ContextLength}.");
        }
    }

    /// <summary>Windows follow each other: nothing is cut off but the rest after the last.</summary>
    private static DocumentSequences Windows(string text, ModelTokenizer tokenizer, int length, int context, int? most) =>
        new([.. TextCorpus.JoinedWindows(text, tokenizer, length, context).Take(most ?? int.MaxValue)], 0, 0);

    private static JsonObject ToJson(PerplexityResult result, NllDifference? difference, DocumentSequences measured)
    {
        var json = new JsonObject
        {
            ["perplexity"] = result.Perplexity,
            ["nll"] = result.Nll,
            ["nllStandardError"] = result.NllStandardError,
            ["predictions"] = result.Predictions,
            ["sequences"] = result.Sequences,
            ["cutSequences"] = measured.CutSequences,
            ["lostTokens"] = measured.LostTokens,
            ["seconds"] = result.Seconds,
        };
        if (difference is { } found)
        {
            json["deltaNll"] = found.Delta;
            json["deltaNllStandardError"] = found.StandardError;
        }

        return json;
    }

    private static void Print(IAnsiConsole console, PerplexityResult result, NllDifference? difference, DocumentSequences measured)
    {
        var grid = new Grid().AddColumn().AddColumn(new GridColumn().RightAligned());
        grid.AddRow("[bold]Perplexity[/]", Numbers.Invariant($"[bold]{result.Perplexity:0.0000}[/]"));
        grid.AddRow("NLL, nats a token", Numbers.Invariant($"{result.Nll:0.0000}") + Spread(result.NllStandardError));
        if (difference is { } found)
        {
            grid.AddRow("ΔNLL, nats a token", Numbers.Invariant($"{found.Delta:0.0000}") + Spread(found.StandardError));
        }

        grid.AddRow("Predictions", Numbers.Invariant($"{result.Predictions:N0}"));
        grid.AddRow("Sequences", Numbers.Invariant($"{result.Sequences:N0}"));
        if (measured.CutSequences > 0)
        {
            grid.AddRow("– cut to the window", Numbers.Invariant($"{measured.CutSequences:N0}, by {measured.LostTokens:N0} tokens"));
        }

        grid.AddRow("Time", Numbers.Seconds(result.Seconds));
        console.Write(grid);
    }

    private static string Spread(double? deviation) => deviation is { } value ? Numbers.Invariant($" ± {value:0.0000}") : string.Empty;
}
