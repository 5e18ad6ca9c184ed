using System.Diagnostics;
using System.Text.Json.Nodes;
using Armor.Cli.Commands;
using Armor.Cli.Hosting;
using Armor.Runtime.Generation;
using Spectre.Console;

namespace Armor.Cli.Measuring;

/// <summary>How fast a model runs here: a prompt in one go, then token by token.</summary>
/// <param name="Device">What it runs on.</param>
/// <param name="Threads">Number of threads that multiply; null on a card.</param>
/// <param name="PromptTokens">Length of the prompt.</param>
/// <param name="PromptSeconds">The fastest of some passes over it.</param>
/// <param name="DecodeTokens">Number of tokens that followed, one pass each.</param>
/// <param name="DecodeSeconds">The median of a pass.</param>
/// <param name="Work">What a token costs.</param>
/// <param name="Bandwidth">Gigabytes a second that the machine reads from memory with as many threads; null on a card, whose memory is not measured here.</param>
internal sealed record ModelBench(
    string Device, int? Threads, int PromptTokens, double PromptSeconds, int DecodeTokens, double DecodeSeconds, ModelWork Work, double? Bandwidth)
{
    private const int Passes = 3;
    private const int WarmUpTokens = 16;

    private double PromptTokensPerSecond => PromptTokens / PromptSeconds;

    private double DecodeGigabytesPerSecond => Work.Bytes / DecodeSeconds / 1e9;

    /// <summary>Measures; the tokens are drawn, since the time does not depend on which they are.</summary>
    internal static ModelBench Measure(
        LoadedModel loaded,
        ModelWork work,
        int promptTokens,
        int decodeTokens,
        double? bandwidth,
        double warmUpSeconds,
        IProgress<Step> steps,
        CancellationToken cancellationToken)
    {
        ArmorModel model = loaded.Model;
        int context = model.Configuration.ContextLength;
        promptTokens = Math.Max(1, Math.Min(promptTokens, context / 2));
        decodeTokens = Math.Min(decodeTokens, context - promptTokens);
        var random = new Random(1);
        int[] tokens = [.. Enumerable.Range(0, promptTokens + decodeTokens).Select(_ => random.Next(model.Configuration.VocabularySize))];
        var logits = new float[model.Configuration.VocabularySize];
        using GenerationSession session = model.CreateSession();

        // The run-time compiles what has run for a while once more, and better.
        for (long begin = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(begin).TotalSeconds < warmUpSeconds;)
        {
            session.Rewind(0);
            Time(0, Math.Min(promptTokens, WarmUpTokens));
            Time(session.Length, 1);
        }

        double prompt = double.PositiveInfinity;
        for (int pass = 0; pass < Passes; pass++)
        {
            session.Rewind(0);
            prompt = Math.Min(prompt, Time(0, promptTokens));
            steps.Report(new Step((pass + 1.0) / (Passes + 1), "prompt", null));
        }

        // A card chooses the likeliest token itself, and logits need not come back.
        IEnumerable<double> steady = loaded.Threads is null
            ? Greedy(model, tokens[..promptTokens], decodeTokens, cancellationToken)
            : Enumerable.Range(promptTokens, decodeTokens).Select(place => Time(place, 1));
        double[] decode = [.. steady.Order()];
        return new ModelBench(loaded.Backend.Name, loaded.Threads, promptTokens, prompt, decodeTokens, decode[decode.Length / 2], work, bandwidth);

        double Time(int start, int count)
        {
            long begin = Stopwatch.GetTimestamp();
            model.ForwardLogits(tokens.AsSpan(start, count), session, logits, cancellationToken);
            return Stopwatch.GetElapsedTime(begin).TotalSeconds;
        }
    }

    /// <summary>How long each token after a prompt takes.</summary>
    private static IEnumerable<double> Greedy(ArmorModel model, int[] prompt, int count, CancellationToken cancellationToken)
    {
        GenerationOptions options = GenerationOptions.Greedy with { MaxTokens = count + 1, StopAtEndOfSequence = false };
        using IEnumerator<int> generated = model.GenerateTokens(prompt, options, cancellationToken).GetEnumerator();
        generated.MoveNext();
        for (int token = 0; token < count; token++)
        {
            long begin = Stopwatch.GetTimestamp();
            generated.MoveNext();
            yield return Stopwatch.GetElapsedTime(begin).TotalSeconds;
        }
    }

    internal JsonObject ToJson() => new()
    {
        ["device"] = Device,
        ["threads"] = Threads,
        ["bandwidth"] = Bandwidth is null ? new JsonArray() : new JsonArray(new JsonObject { ["threads"] = Threads, ["gigabytesPerSecond"] = Bandwidth }),
        ["bytesPerToken"] = Work.Bytes,
        ["promptTokens"] = PromptTokens,
        ["promptTokensPerSecond"] = PromptTokensPerSecond,
        ["promptGigaflopsPerSecond"] = Work.Flops * PromptTokensPerSecond / 1e9,
        ["decodeTokens"] = DecodeTokens,
        ["decodeTokensPerSecond"] = 1 / DecodeSeconds,
        ["decodeGigaflopsPerSecond"] = Work.Flops / DecodeSeconds / 1e9,
        ["decodeGigabytesPerSecond"] = DecodeGigabytesPerSecond,
        ["decodeFractionOfBandwidth"] = DecodeGigabytesPerSecond / Bandwidth,
    };

    internal void Print(IAnsiConsole console)
    {
        string where = Threads is { } threads ? Numbers.Invariant($"{threads} threads") : Device;
        Table table = Tables.OfNumbers(where, "tokens/s", "GFLOP/s, dense-equivalent", "GB/s", "of the bandwidth");
        table.AddRow(
            Numbers.Invariant($"Prompt of {PromptTokens} tokens"),
            Numbers.Invariant($"{PromptTokensPerSecond:0.0}"),
            Numbers.Invariant($"{Work.Flops * PromptTokensPerSecond / 1e9:0.0}"),
            string.Empty,
            string.Empty);
        table.AddRow(
            Numbers.Invariant($"Decode, {DecodeTokens} tokens"),
            Numbers.Invariant($"{1 / DecodeSeconds:0.0}"),
            Numbers.Invariant($"{Work.Flops / DecodeSeconds / 1e9:0.0}"),
            Numbers.Invariant($"{DecodeGigabytesPerSecond:0.0}"),
            Bandwidth is null ? string.Empty : Numbers.Invariant($"{100 * DecodeGigabytesPerSecond / Bandwidth:0} %"));
        console.Write(table);
        console.WriteLine(Bandwidth is null
            ? $"A token reads {Numbers.Bytes(Work.Bytes)} of weights. Small models stay in the card's cache."
            : Numbers.Invariant(
                $"Memory is read at {Bandwidth:0.0} GB/s here; a token reads {Numbers.Bytes(Work.Bytes)} of weights. Small models stay in the processor's cache."));
    }
}
