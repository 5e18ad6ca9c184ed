namespace Armor.Cli.Demo;

/// <summary>What one method came to.</summary>
/// <param name="Method">Its name.</param>
/// <param name="Storage">Bytes of the linears as a share of their dense bfloat16 size.</param>
/// <param name="Perplexity">On the evaluation text.</param>
/// <param name="DeltaNll">NLL per token less the dense model's, in nats.</param>
/// <param name="StandardError">Of <paramref name="DeltaNll"/>, paired by sequence; null for a single sequence.</param>
/// <param name="Seconds">Wall time of the pruning.</param>
internal sealed record DemoRow(string Method, double Storage, double Perplexity, double DeltaNll, double? StandardError, double Seconds);

/// <summary>A whole demo.</summary>
/// <param name="Rows">One row a method, the dense model first.</param>
/// <param name="Source">What it ran on.</param>
/// <param name="CalibrationSequences">How many sequences were used for calibration.</param>
/// <param name="EvaluationSequences">How many sequences were evaluated.</param>
/// <param name="Predictions">How many tokens were predicted.</param>
/// <param name="Seconds">Wall time of everything.</param>
internal sealed record DemoResult(
    IReadOnlyList<DemoRow> Rows, DemoSource Source, int CalibrationSequences, int EvaluationSequences, long Predictions, double Seconds);
