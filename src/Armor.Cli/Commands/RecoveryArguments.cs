using System.CommandLine;
using Armor.Core.Recovery;

namespace Armor.Cli.Commands;

/// <summary>How to recover.</summary>
internal sealed class RecoveryArguments
{
    private static readonly RecoveryOptions Standard = new();

    private readonly Option<int?> steps;
    private readonly Option<int?> layerSteps;
    private readonly Option<double?> rate;
    private readonly Option<double?> layerRate;
    private readonly Option<int?> batch;
    private readonly Option<int?> heldOut;
    private readonly Option<int?> evaluate;
    private readonly Option<int?> patience;
    private readonly Option<long?> seed;

    internal RecoveryArguments()
    {
        steps = Count("steps", $"Steps of the whole model by KL to the dense one (default {Standard.Steps}; 0 for none).", 0);
        layerSteps = Count("layer-steps", $"Steps of each decoder layer before that (default {Standard.LayerwiseSteps}; 0 for none).", 0);
        rate = Rate("learning-rate", "The highest rate of the whole model, as a share of a factor's root mean square", Standard.LearningRate);
        layerRate = Rate("layer-learning-rate", "The highest rate of the layers, in the same unit", Standard.LayerwiseLearningRate);
        batch = Count("batch", $"Sequences a step (default {Standard.SequencesPerStep}).", 1);
        heldOut = Count("held-out", $"Documents held out, the last ones (default {Standard.HeldOutSequences}, at most a quarter).", 1);
        evaluate = Count("evaluate-every", $"Steps between two measurements on the held-out documents (default {Standard.EvaluationSteps}).", 1);
        patience = Count("patience", $"Stop after N measurements without a new best (default {Standard.Patience}).", 1);
        seed = Numbers.Create<long>("--seed", "N", "The seed of the order of the documents (default 0).", _ => true, "a whole number");

        Option<int?> Count(string name, string description, int minimum) => Numbers.Integer("--" + name, "N", description, minimum);

        Option<double?> Rate(string name, string description, double standard) => Numbers.Create<double>(
            "--" + name, "RATE", Numbers.Invariant($"{description} (default {standard})."), value => value > 0 && double.IsFinite(value), "a positive number");
    }

    internal void AddTo(Command command)
    {
        foreach (Option option in (Option[])[steps, layerSteps, rate, layerRate, batch, heldOut, evaluate, patience, seed])
        {
            command.Add(option);
        }
    }

    internal RecoveryOptions Read(ParseResult parsed)
    {
        var options = new RecoveryOptions
        {
            Steps = parsed.GetValue(steps) ?? Standard.Steps,
            LayerwiseSteps = parsed.GetValue(layerSteps) ?? Standard.LayerwiseSteps,
            LearningRate = parsed.GetValue(rate) ?? Standard.LearningRate,
            LayerwiseLearningRate = parsed.GetValue(layerRate) ?? Standard.LayerwiseLearningRate,
            SequencesPerStep = parsed.GetValue(batch) ?? Standard.SequencesPerStep,
            HeldOutSequences = parsed.GetValue(heldOut) ?? Standard.HeldOutSequences,
            EvaluationSteps = parsed.GetValue(evaluate) ?? Standard.EvaluationSteps,
            Patience = parsed.GetValue(patience) ?? Standard.Patience,
            Seed = parsed.GetValue(seed) ?? Standard.Seed,
        };
        try
        {
            options.Validate();
        }
        catch (ArgumentException exception)
        {
            throw new Hosting.UsageException(exception.Message.ReplaceLineEndings(" "));
        }

        return options;
    }
}
