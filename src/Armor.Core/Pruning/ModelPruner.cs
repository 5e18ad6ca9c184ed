using Armor.Core.Calibration;
using Armor.Core.Pruning.Planning;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Pruning;

/// <summary>
/// Prunes every decoder linear of a Hugging Face model folder into an ARMOR folder. Embeddings, norms and the head stay dense. Only one
/// decoder layer is in memory; the calibration tokens' activations are as far as <see cref="ModelPrunerOptions.MemoryBudget"/> goes.
/// </summary>
public static class ModelPruner
{
    /// <summary>Prunes a model.</summary>
    /// <param name="model">The dense model's folder, with its tokenizer.</param>
    /// <param name="output">
    /// The folder to write; missing or empty. It appears whole or not at all. Until then finished linears are kept in a folder of the same
    /// name with <c>.partial</c> appended; an interrupted run is taken up from there with <see cref="ModelPrunerOptions.Resume"/>.
    /// </param>
    /// <param name="calibrationTexts">Texts like those that the model will see; the first <see cref="ModelPrunerOptions.MaxSamples"/> are used.</param>
    /// <param name="options">How to prune; the default options where null.</param>
    /// <param name="progress">Told of every linear and of its falling loss.</param>
    /// <param name="cancellationToken">Stops the work within a linear; what is finished can be resumed.</param>
    /// <exception cref="ArgumentException">An option is out of range; lists every violation.</exception>
    /// <exception cref="CalibrationException">No usable calibration text, a context that is too short, or activations that are not finite.</exception>
    /// <exception cref="Armor.Runtime.Checkpoints.CheckpointException">The model's files break a rule, or a weight is NaN or infinite.</exception>
    /// <exception cref="IOException">
    /// The output folder is not empty, an interrupted run is in the way or differs from this one, or writing failed.
    /// </exception>
    public static Task<ModelPruningReport> PruneAsync(
        string model,
        string output,
        IReadOnlyList<string> calibrationTexts,
        ModelPrunerOptions? options = null,
        IProgress<ModelPruningProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(calibrationTexts);
        return RunAsync(model, output, () => Tokenise(model, calibrationTexts), options, progress, cancellationToken);
    }

    /// <summary>Prunes a model on calibration text that is tokenised already.</summary>
    /// <param name="model">The dense model's folder; needs no tokenizer.</param>
    /// <param name="output">See <see cref="PruneAsync"/>.</param>
    /// <param name="calibrationSequences">Token ids of the model's vocabulary, BOS first; longer ones are cut to the context less one token.</param>
    /// <param name="options">See <see cref="PruneAsync"/>.</param>
    /// <param name="progress">See <see cref="PruneAsync"/>.</param>
    /// <param name="cancellationToken">See <see cref="PruneAsync"/>.</param>
    /// <inheritdoc cref="PruneAsync" path="/exception"/>
    public static Task<ModelPruningReport> PruneTokensAsync(
        string model,
        string output,
        IReadOnlyList<int[]> calibrationSequences,
        ModelPrunerOptions? options = null,
        IProgress<ModelPruningProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(calibrationSequences);
        return RunAsync(model, output, () => calibrationSequences, options, progress, cancellationToken);
    }

    /// <summary>
    /// Foretells what <see cref="PruneAsync"/> with the same arguments will take, by measurements of some seconds. Writes nothing but a file that it
    /// deletes at once.
    /// </summary>
    /// <param name="model">See <see cref="PruneAsync"/>.</param>
    /// <param name="output">The folder that would be written; what is free there is told.</param>
    /// <param name="calibrationTexts">See <see cref="PruneAsync"/>.</param>
    /// <param name="options">See <see cref="PruneAsync"/>.</param>
    /// <param name="cancellationToken">Stops the measurements.</param>
    /// <inheritdoc cref="PruneAsync" path="/exception"/>
    public static Task<PruningEstimate> EstimateAsync(
        string model, string output, IReadOnlyList<string> calibrationTexts, ModelPrunerOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(calibrationTexts);
        return EstimateAsync(model, output, () => Tokenise(model, calibrationTexts), options, cancellationToken);
    }

    /// <summary>Foretells what <see cref="PruneTokensAsync"/> with the same arguments will take.</summary>
    /// <param name="model">See <see cref="PruneAsync"/>.</param>
    /// <param name="output">See <see cref="EstimateAsync(string, string, IReadOnlyList{string}, ModelPrunerOptions?, CancellationToken)"/>.</param>
    /// <param name="calibrationSequences">See <see cref="PruneTokensAsync"/>.</param>
    /// <param name="options">See <see cref="PruneAsync"/>.</param>
    /// <param name="cancellationToken">Stops the measurements.</param>
    /// <inheritdoc cref="PruneAsync" path="/exception"/>
    public static Task<PruningEstimate> EstimateTokensAsync(
        string model, string output, IReadOnlyList<int[]> calibrationSequences, ModelPrunerOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(calibrationSequences);
        return EstimateAsync(model, output, () => calibrationSequences, options, cancellationToken);
    }

    private static Task<PruningEstimate> EstimateAsync(
        string model, string output, Func<IEnumerable<int[]>> sequences, ModelPrunerOptions? options, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(model);
        ArgumentException.ThrowIfNullOrEmpty(output);
        options ??= new ModelPrunerOptions();
        options.Validate();
        var pruner = new ArmorLinearPruner(options.Pruner);
        return Task.Run(() => PruningEstimator.Estimate(model, output, sequences, pruner, options, cancellationToken), cancellationToken);
    }

    private static Task<ModelPruningReport> RunAsync(
        string model,
        string output,
        Func<IEnumerable<int[]>> sequences,
        ModelPrunerOptions? options,
        IProgress<ModelPruningProgress>? progress,
        CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(model);
        ArgumentException.ThrowIfNullOrEmpty(output);
        options ??= new ModelPrunerOptions();
        options.Validate();
        var pruner = new ArmorLinearPruner(options.Pruner);
        return Task.Run(() => new ModelPruningRun(model, output, pruner, options, progress, cancellationToken).Execute(sequences), cancellationToken);
    }

    private static IEnumerable<int[]> Tokenise(string model, IReadOnlyList<string> texts)
    {
        ModelTokenizer tokenizer = ModelTokenizer.Load(model);
        return texts.Where(text => !string.IsNullOrWhiteSpace(text)).Select(text => tokenizer.Encode(text, addBeginOfSequence: true).ToArray());
    }
}
