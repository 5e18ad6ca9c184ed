using Armor.Core.Pruning;

namespace Armor.Cli.Studies;

/// <summary>One pruning of a study.</summary>
/// <param name="Setting">The setting that is studied; runs of one setting differ in their text or their seed.</param>
/// <param name="Texts">What it is calibrated on.</param>
/// <param name="Options">How it is pruned.</param>
/// <param name="Curve">What the settings have in common that differ in their work only; null where a setting is compared by itself.</param>
internal sealed record StudyVariant(string Setting, IReadOnlyList<string> Texts, ArmorPrunerOptions Options, string? Curve = null);

/// <summary>What one pruning came to.</summary>
/// <param name="Storage">Bytes of the linears as a share of their dense bfloat16 size.</param>
/// <param name="DeltaNll">NLL a token above the dense model's, in nats.</param>
/// <param name="StandardError">Of <paramref name="DeltaNll"/>, over the evaluation's sequences; null for a single one.</param>
/// <param name="Seconds">Wall time of the pruning, calibration included.</param>
/// <param name="OptimiserSeconds">The part of it in which weights were optimised, summed over the linears.</param>
internal sealed record StudyMeasurement(double Storage, double DeltaNll, double? StandardError, double Seconds, double OptimiserSeconds);

/// <summary>What the runs of one setting came to.</summary>
/// <param name="Setting">The setting.</param>
/// <param name="Curve">See <see cref="StudyVariant"/>.</param>
/// <param name="Storage">Bytes of the linears as a share of their dense bfloat16 size.</param>
/// <param name="DeltaNlls">NLL a token above the dense model's, in nats, one a run.</param>
/// <param name="Seconds">Wall time of a pruning, calibration included; the runs' mean.</param>
/// <param name="OptimiserSeconds">The part of it in which weights were optimised, summed over the linears; the runs' mean.</param>
internal sealed record StudyRow(
    string Setting, string? Curve, double Storage, IReadOnlyList<double> DeltaNlls, double Seconds, double OptimiserSeconds)
{
    internal double Mean => DeltaNlls.Average();

    /// <summary>The sample standard deviation; null for a single run.</summary>
    internal double? Deviation => DeltaNlls.Count < 2 ? null : Math.Sqrt(DeltaNlls.Sum(value => Math.Pow(value - Mean, 2)) / (DeltaNlls.Count - 1));
}

/// <summary>A whole study.</summary>
/// <param name="Name">What was studied.</param>
/// <param name="Model">The name of the dense model's folder.</param>
/// <param name="DenseNll">The dense model's NLL a token, in nats.</param>
/// <param name="StandardError">The largest standard error of a run's ΔNLL over the evaluation's sequences.</param>
/// <param name="Rows">One row a setting.</param>
internal sealed record StudyResult(string Name, string Model, double DenseNll, double StandardError, IReadOnlyList<StudyRow> Rows);
