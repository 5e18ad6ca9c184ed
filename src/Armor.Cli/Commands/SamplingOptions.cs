using System.CommandLine;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Cli.Commands;

/// <summary>How a verb that generates chooses tokens, where the model runs, and in which types; the same for all of them.</summary>
internal sealed class SamplingOptions
{
    private readonly Option<int?> maxTokens = Numbers.Integer("--max-tokens", "N", "Generate at most N tokens (default 256).", minimum: 1);

    private readonly Option<double?> temperature = Numbers.Create<double>(
        "--temperature", "T", "What logits are divided by before a token is drawn; 0 takes the likeliest.", value => value is >= 0 and < double.PositiveInfinity, "a number of at least 0");

    private readonly Option<int?> topK = Numbers.Integer("--top-k", "N", "Draw from the N likeliest tokens only.", minimum: 1);

    private readonly Option<double?> topP = Numbers.Create<double>(
        "--top-p", "P", "Draw from the likeliest tokens that hold this share of the probability only.", value => value is > 0 and <= 1, "above 0 and at most 1");

    private readonly Option<double?> minP = Numbers.Create<double>(
        "--min-p", "P", "Draw from tokens at least this times as likely as the likeliest only.", value => value is >= 0 and <= 1, "from 0 to 1");

    private readonly Option<double?> repetitionPenalty = Numbers.Create<double>(
        "--repetition-penalty", "R", "Above 1 against repetition (default 1).", value => value is > 0 and < double.PositiveInfinity, "a number above 0");

    private readonly Option<long?> seed = Numbers.Create<long>("--seed", "N", "Seed of the draws (default 0).", _ => true, "a whole number");

    private readonly Option<string[]> stop = new("--stop") { Description = "End before this text; may be given more than once.", HelpName = "TEXT" };

    private readonly Option<int?> threads = Numbers.Integer("--threads", "N", "Multiply on N threads (default: one a processor).", minimum: 1);

    private readonly Option<string> device = DeviceOption.Create();

    private readonly HeldTypeOptions types = new();

    internal void AddTo(Command command)
    {
        Option[] options = [maxTokens, temperature, topK, topP, minP, repetitionPenalty, seed, stop, threads, device, .. types.All];
        foreach (Option option in options)
        {
            command.Add(option);
        }
    }

    /// <summary>What was asked for, over the model's own recommendations or a verb's defaults.</summary>
    internal GenerationOptions Read(ParseResult parsed, GenerationOptions defaults) => defaults with
    {
        MaxTokens = parsed.GetValue(maxTokens) ?? defaults.MaxTokens,
        Temperature = parsed.GetValue(temperature) ?? defaults.Temperature,
        TopK = parsed.GetValue(topK) ?? defaults.TopK,
        TopP = parsed.GetValue(topP) ?? defaults.TopP,
        MinP = parsed.GetValue(minP) ?? defaults.MinP,
        RepetitionPenalty = parsed.GetValue(repetitionPenalty) ?? defaults.RepetitionPenalty,
        Seed = parsed.GetValue(seed) ?? defaults.Seed,
        StopStrings = [.. (parsed.GetValue(stop) ?? []).Where(text => text.Length > 0)],
    };

    /// <summary>Loads a model to run as was asked for.</summary>
    internal LoadedModel Load(ParseResult parsed, string folder, CancellationToken cancellationToken) =>
        LoadedModel.Load(folder, parsed.GetValue(threads), DeviceOption.Read(parsed, device, threads), types.Read(parsed), cancellationToken);
}
