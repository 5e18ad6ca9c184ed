using System.Globalization;
using Armor.Core.Calibration;
using Armor.Runtime.Checkpoints;

namespace Armor.Core.Pruning;

/// <summary>How a whole model is pruned.</summary>
public sealed record ModelPrunerOptions
{
    private const int DefaultMaxSamples = 128;
    private const int DefaultTokensPerBatch = 4096;
    private const int DefaultGradientTokens = 32_768;

    /// <summary>How each weight is pruned.</summary>
    /// <value>The default is <see cref="ArmorPrunerOptions.Balanced"/>.</value>
    public ArmorPrunerOptions Pruner { get; init; } = ArmorPrunerOptions.Balanced;

    /// <summary>
    /// Whose activations a weight is pruned on. Where this is sequential and the method uses the full Hessian,
    /// <see cref="ArmorPrunerOptions.CrossTarget"/> makes each weight aim at the dense model's output.
    /// </summary>
    /// <value>The default is <see cref="CalibrationMode.Sequential"/>.</value>
    public CalibrationMode Calibration { get; init; } = CalibrationMode.Sequential;

    /// <summary>How many calibration texts are used, the first ones; each is cut to the model's context less one token.</summary>
    /// <value>The default is 128.</value>
    public int MaxSamples { get; init; } = DefaultMaxSamples;

    /// <summary>
    /// How many calibration tokens the backward pass of <see cref="ArmorPrunerOptions.GradientWeighting"/> and the trials of <see cref="AllocateBlocks"/> run
    /// over, at least one text: a longer calibration set is cut there.
    /// </summary>
    /// <value>The default is 32,768.</value>
    public int GradientTokens { get; init; } = DefaultGradientTokens;

    /// <summary>
    /// Whether the wrappers' storage goes where it takes most off the loss: each linear gets wrappers of half, the whole or twice the size that
    /// <see cref="Pruner"/> names, or on one side only, chosen by short trials; together they take no more storage than with the same size everywhere. Without
    /// effect where <see cref="ArmorPrunerOptions.UsesGradients"/> is false, and on methods without wrappers.
    /// </summary>
    /// <value>The default is true.</value>
    public bool AllocateBlocks { get; init; } = true;

    /// <summary>How many tokens go through a layer at once, padding included; bounds the memory of a layer's intermediate values.</summary>
    /// <value>The default is 4096.</value>
    public int TokensPerBatch { get; init; } = DefaultTokensPerBatch;

    /// <summary>
    /// The type that wrappers and kept values are stored in: float16, bfloat16 or float32. Null: the weight's own type where that has 16
    /// bits, float16 otherwise.
    /// </summary>
    /// <value>The default is null.</value>
    public TensorElementType? Storage { get; init; }

    /// <summary>
    /// The type that kept values are stored in where it is another one: 8-bit integers with a scale for each 256 columns of a row, which makes 0.633 bytes of
    /// a weight's 2:4 core in place of 1.125. Null: as <see cref="Storage"/>.
    /// </summary>
    /// <value>The default is null.</value>
    public TensorElementType? CoreStorage { get; init; }

    /// <summary>
    /// Whether to go on where an interrupted run to the same output folder stopped. The output is byte for byte that of a run without
    /// interruption. Where there is no such run, a new one begins.
    /// </summary>
    /// <value>The default is false: an interrupted run in the way is an error.</value>
    public bool Resume { get; init; }

    /// <summary>
    /// What the process may take in memory, in bytes: activations that do not fit lie in files of the work folder. Null: 70 % of what is free when the
    /// run begins. A budget below the model's need with <see cref="TokensPerBatch"/> makes batches smaller, which changes roundings; otherwise it has no
    /// effect on the result.
    /// </summary>
    /// <value>The default is null.</value>
    public long? MemoryBudget { get; init; }

    /// <summary>The most bytes of tensors in one file of the output; a larger tensor has a file of its own.</summary>
    /// <value>The default is 2 · 10⁹.</value>
    public long ShardBytes { get; init; } = ArmorCheckpointWriter.DefaultShardBytes;

    /// <summary>Checks every option.</summary>
    /// <exception cref="ArgumentException">Lists every violation.</exception>
    public void Validate()
    {
        var violations = new List<string>();
        if (Pruner is null)
        {
            violations.Add($"{nameof(Pruner)} is missing.");
        }

        if (!Enum.IsDefined(Calibration))
        {
            violations.Add($"{nameof(Calibration)} {(int)Calibration} is unknown.");
        }

        if (MaxSamples < 1)
        {
            violations.Add($"{nameof(MaxSamples)} must be at least 1; found {MaxSamples}.");
        }

        if (TokensPerBatch < 1)
        {
            violations.Add($"{nameof(TokensPerBatch)} must be at least 1; found {TokensPerBatch}.");
        }

        if (GradientTokens < 1)
        {
            violations.Add($"{nameof(GradientTokens)} must be at least 1; found {GradientTokens}.");
        }

        if (MemoryBudget is < 1)
        {
            violations.Add($"{nameof(MemoryBudget)} must be at least 1; found {MemoryBudget}.");
        }

        if (ShardBytes < 1)
        {
            violations.Add($"{nameof(ShardBytes)} must be at least 1; found {ShardBytes}.");
        }

        if (Storage is not (null or TensorElementType.Float16 or TensorElementType.BFloat16 or TensorElementType.Float32))
        {
            violations.Add($"{nameof(Storage)} must be Float16, BFloat16 or Float32; found {Storage}.");
        }

        if (CoreStorage is not (null or TensorElementType.Int8))
        {
            violations.Add($"{nameof(CoreStorage)} must be Int8 or null; found {CoreStorage}.");
        }

        try
        {
            Pruner?.Validate();
        }
        catch (ArgumentException exception)
        {
            violations.Add(exception.Message);
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(Environment.NewLine, violations));
        }
    }

    /// <summary>The walk's share of a run's fingerprint: all that the output depends on, but for the pruner's own.</summary>
    internal IReadOnlyDictionary<string, string> Fingerprint => new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        [nameof(AllocateBlocks)] = AllocateBlocks.ToString(),
        [nameof(Calibration)] = Calibration.ToString(),
        [nameof(GradientTokens)] = GradientTokens.ToString(CultureInfo.InvariantCulture),
        [nameof(TokensPerBatch)] = TokensPerBatch.ToString(CultureInfo.InvariantCulture),
        [nameof(ShardBytes)] = ShardBytes.ToString(CultureInfo.InvariantCulture),
        [nameof(Storage)] = Storage?.ToString() ?? "as the source",
        [nameof(CoreStorage)] = CoreStorage?.ToString() ?? "as the rest",
    };
}
