using System.CommandLine;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Runtime.Tokenization;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor eval</c>: the perplexity of a dense or ARMOR model.</summary>
internal static class EvalCommand
{
    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("dense or ARMOR");
        var text = new Option<string>("--text") { Description = "The text to predict.", HelpName = "FILE", Required = true };
        var documents = new TextOptions();
        Option<int?> count = Numbers.Integer("--sequences", "N", "Use only the first N sequences.", minimum: 1);
        Option<int?> windows = Numbers.Integer(
            "--windows", "LENGTH", "Join the whole text and cut it into windows of LENGTH tokens (the WikiText-2 protocol), instead of documents.", minimum: 2);
        var command = new Command("eval", "Measures a model's perplexity on a text.") { model, text, count, windows };
        documents.AddTo(command);
        command.SetAction((parsed, cancellationToken) => host.RunNativeAsync(parsed, cancellationToken, async session =>
        {
            bool cutsDocuments = parsed.GetResult(documents.MinimumLength) is not null || parsed.GetResult(documents.Separator) is { Implicit: false };
            if (parsed.GetValue(windows) is not null && cutsDocuments)
            {
                throw new UsageException("--windows joins the whole text; it does not go with --separator or --min-length.");
            }

            string folder = ModelFolder.Existing(parsed.GetRequiredValue(model));
            string file = parsed.GetRequiredValue(text);
            PerplexityResult result = await session.RunAsync("Evaluating", steps =>
            {
                ModelTokenizer tokenizer = ModelTokenizer.Load(folder);
                Func<int, IEnumerable<int[]>> cut = parsed.GetValue(windows) is { } length
                    ? Windows(TextOptions.ReadText(file), tokenizer, length)
                    : Documents(documents.ReadDocuments(parsed, file), tokenizer);
                using CausalLanguageModel loaded = CausalLanguageModel.Load(folder);
                IEnumerable<int[]> sequences = cut(loaded.Configuration.ContextLength).Take(parsed.GetValue(count) ?? int.MaxValue);
                return new PerplexityEvaluator(loaded).Evaluate(sequences, new EvaluationSteps(steps), session.CancellationToken);
            }).ConfigureAwait(false);
            session.Write(() => ToJson(result), console => Print(console, result));
        }));
        return command;
    }

    private static Func<int, IEnumerable<int[]>> Documents(IReadOnlyList<string> documents, ModelTokenizer tokenizer) =>
        context => TextCorpus.TokenizeDocuments(documents, tokenizer, context);

    private static Func<int, IEnumerable<int[]>> Windows(string text, ModelTokenizer tokenizer, int length) =>
        context => TextCorpus.JoinedWindows(text, tokenizer, length, context);

    private static JsonObject ToJson(PerplexityResult result) => new()
    {
        ["perplexity"] = result.Perplexity,
        ["nll"] = result.Nll,
        ["nllStandardError"] = result.NllStandardError,
        ["predictions"] = result.Predictions,
        ["sequences"] = result.Sequences,
        ["seconds"] = result.Seconds,
    };

    private static void Print(IAnsiConsole console, PerplexityResult result)
    {
        string spread = result.NllStandardError is { } deviation ? Numbers.Invariant($" ± {deviation:0.0000}") : string.Empty;
        var grid = new Grid().AddColumn().AddColumn(new GridColumn().RightAligned());
        grid.AddRow("[bold]Perplexity[/]", Numbers.Invariant($"[bold]{result.Perplexity:0.0000}[/]"));
        grid.AddRow("NLL, nats a token", Numbers.Invariant($"{result.Nll:0.0000}") + spread);
        grid.AddRow("Predictions", Numbers.Invariant($"{result.Predictions:N0}"));
        grid.AddRow("Sequences", Numbers.Invariant($"{result.Sequences:N0}"));
        grid.AddRow("Time", Numbers.Seconds(result.Seconds));
        console.Write(grid);
    }
}
