using Armor.Core.Calibration;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Recovery;

/// <summary>
/// Fine-tunes a pruned model towards its dense one: only the wrappers and the kept values change, masks and all else stay. First layer by layer, then
/// the whole model by KL(dense‖pruned) of the next token.
/// </summary>
public static class ModelRecovery
{
    /// <summary>Recovers a model on texts.</summary>
    /// <param name="pruned">The ARMOR folder.</param>
    /// <param name="dense">The folder of the dense model that it was pruned from.</param>
    /// <param name="output">
    /// The ARMOR folder to write; missing or empty. It appears whole or not at all. Until then what is done is kept in a folder of the same name with
    /// <c>.partial</c> appended; an interrupted run is taken up from there with <see cref="RecoveryOptions.Resume"/>.
    /// </param>
    /// <param name="texts">Texts like those that the model will see, tokenised with the pruned model's tokenizer. The last ones are held out.</param>
    /// <param name="options">How to recover; the default options where null.</param>
    /// <param name="progress">Told of every step.</param>
    /// <param name="cancellationToken">Stops between layers of a step; what is done can be resumed.</param>
    /// <exception cref="ArgumentException">An option is out of range; lists every violation.</exception>
    /// <exception cref="CalibrationException">Fewer than two usable texts, or a context that is too short.</exception>
    /// <exception cref="Armor.Core.Evaluation.EvaluationException">The pruned model's loss is not finite to begin with.</exception>
    /// <exception cref="Armor.Runtime.Checkpoints.CheckpointException">A model's files break a rule, or the two do not belong together.</exception>
    /// <exception cref="IOException">
    /// The output folder is not empty, an interrupted run is in the way or differs from this one, or writing failed.
    /// </exception>
    public static Task<RecoveryReport> RecoverAsync(
        string pruned,
        string dense,
        string output,
        IReadOnlyList<string> texts,
        RecoveryOptions? options = null,
        IProgress<RecoveryProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        return RunAsync(pruned, dense, output, () => Tokenise(pruned, texts), options, progress, cancellationToken);
    }

    /// <summary>Recovers a model on sequences that are tokenised already.</summary>
    /// <param name="pruned">See <see cref="RecoverAsync"/>; needs no tokenizer.</param>
    /// <param name="dense">See <see cref="RecoverAsync"/>.</param>
    /// <param name="output">See <see cref="RecoverAsync"/>.</param>
    /// <param name="sequences">Token ids of the model's vocabulary, BOS first; longer ones are cut to the context less one token. The last ones are held out.</param>
    /// <param name="options">See <see cref="RecoverAsync"/>.</param>
    /// <param name="progress">See <see cref="RecoverAsync"/>.</param>
    /// <param name="cancellationToken">See <see cref="RecoverAsync"/>.</param>
    /// <inheritdoc cref="RecoverAsync" path="/exception"/>
    public static Task<RecoveryReport> RecoverTokensAsync(
        string pruned,
        string dense,
        string output,
        IReadOnlyList<int[]> sequences,
        RecoveryOptions? options = null,
        IProgress<RecoveryProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        return RunAsync(pruned, dense, output, () => sequences, options, progress, cancellationToken);
    }

    private static Task<RecoveryReport> RunAsync(
        string pruned,
        string dense,
        string output,
        Func<IEnumerable<int[]>> sequences,
        RecoveryOptions? options,
        IProgress<RecoveryProgress>? progress,
        CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(pruned);
        ArgumentException.ThrowIfNullOrEmpty(dense);
        ArgumentException.ThrowIfNullOrEmpty(output);
        options ??= new RecoveryOptions();
        options.Validate();
        return Task.Run(() => new RecoveryRun(pruned, dense, output, options, progress, cancellationToken).Execute(sequences), cancellationToken);
    }

    private static IEnumerable<int[]> Tokenise(string model, IReadOnlyList<string> texts)
    {
        ModelTokenizer tokenizer = ModelTokenizer.Load(model);
        return texts.Where(text => !string.IsNullOrWhiteSpace(text)).Select(text => tokenizer.Encode(text, addBeginOfSequence: true).ToArray());
    }
}
