using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Onnx.Running;

namespace Armor.Onnx.Pruning;

/// <summary>How an ONNX model is pruned.</summary>
public sealed record OnnxPrunerOptions
{
    /// <summary>The default of <see cref="MemoryBudget"/>: 2 GiB.</summary>
    public const long DefaultMemoryBudget = 1L << 31;

    /// <summary>How each weight is pruned. Gradients and the order of channels, which need more than a weight's inputs, have no effect.</summary>
    public ArmorPrunerOptions Pruner { get; init; } = ArmorPrunerOptions.Balanced;

    /// <summary>
    /// Whose activations a weight is pruned on: those of the model with the weights before it pruned, aiming at the dense model's outputs (better, and two
    /// runs of the calibration inputs for every depth of the graph), or the dense model's (all weights from one run, or as many as
    /// <see cref="MemoryBudget"/> asks for).
    /// </summary>
    public CalibrationMode Calibration { get; init; } = CalibrationMode.Sequential;

    /// <summary>Most bytes of the Hessians that are collected at a time, d_in² values for each input that weights share; one always fits.</summary>
    public long MemoryBudget { get; init; } = DefaultMemoryBudget;

    /// <summary>
    /// Whether heads are pruned too: weights whose product is an output of the model, but for constants added or multiplied, casts, and the functions that
    /// end a model (softmax, sigmoid, tanh).
    /// </summary>
    public bool PruneHeads { get; init; }

    /// <summary>Says of a weight, by the name that reports give it, whether it is left as it is; null leaves none.</summary>
    public Func<string, bool>? Skip { get; init; }

    /// <summary>How sparse cores are stored.</summary>
    public SparseCoreFormat CoreFormat { get; init; }

    /// <summary>
    /// Whether large tensors go to a file beside the output, of its name with <c>.data</c> appended; null: where the source has such a file. Beyond 1.9 GB
    /// they do anyway.
    /// </summary>
    public bool? ExternalData { get; init; }

    /// <summary>How the model is run on the calibration inputs.</summary>
    public OnnxRuntimeOptions Runtime { get; init; } = new();

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        if (!Enum.IsDefined(Calibration))
        {
            violations.Add($"{nameof(Calibration)} must be Sequential or Dense; found {Calibration}.");
        }

        if (MemoryBudget < 1)
        {
            violations.Add($"{nameof(MemoryBudget)} must be at least 1; found {MemoryBudget}.");
        }

        if (!Enum.IsDefined(CoreFormat))
        {
            violations.Add($"{nameof(CoreFormat)} must be Dense or SparseInitializer; found {CoreFormat}.");
        }

        foreach (Action check in (Action[])[() => Required(Pruner).Validate(), () => Required(Runtime).Validate()])
        {
            try
            {
                check();
            }
            catch (ArgumentException exception)
            {
                violations.Add(exception.Message);
            }
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException("The options are not valid:" + Environment.NewLine + string.Join(Environment.NewLine, violations));
        }

        static T Required<T>(T value)
        {
            ArgumentNullException.ThrowIfNull(value);
            return value;
        }
    }
}
