using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Microsoft.ML.OnnxRuntime;

namespace Armor.Onnx.Pruning;

/// <summary>
/// Prunes the weights of an ONNX model: every MatMul and Gemm of the main graph by a constant matrix becomes the nodes of A·S·B. Any model will do,
/// decoder, encoder or vision; what the weights see is found by running it.
/// </summary>
/// <example>
/// <code>
/// var calibration = OnnxCalibration.FromTexts("model.onnx", "path/to/tokenizer", texts);
/// OnnxPruningReport report = await OnnxPruner.PruneAsync("model.onnx", "pruned.onnx", calibration);
/// foreach (SkippedNode node in report.Skipped) Console.WriteLine($"{node.Node}: {node.Reason}");
/// </code>
/// </example>
public static class OnnxPruner
{
    /// <summary>Prunes a model.</summary>
    /// <param name="model">The file.</param>
    /// <param name="output">The file to write, which must not exist. It appears whole, with its external data if it has any, or not at all.</param>
    /// <param name="calibration">
    /// Inputs like those that the model will see: for each run of the model a tensor for each of its inputs. Gone through several times, and each run's
    /// activations are in memory at once: a few sequences or images a run are right. See <see cref="Armor.Onnx.Calibration.OnnxCalibration"/>.
    /// </param>
    /// <param name="options">How; the default options where null.</param>
    /// <param name="progress">Told of every weight and of its falling loss.</param>
    /// <param name="cancellationToken">Stops the work within a weight; nothing is left of it.</param>
    /// <exception cref="ArgumentException">An option is out of range; lists every violation.</exception>
    /// <exception cref="OnnxException">
    /// The file breaks a rule, has nothing to prune or a weight that is not finite, ONNX Runtime cannot run it, or the output exists.
    /// </exception>
    /// <exception cref="CalibrationException">No calibration inputs, or activations that are not finite.</exception>
    public static Task<OnnxPruningReport> PruneAsync(
        string model,
        string output,
        IEnumerable<IReadOnlyCollection<NamedOnnxValue>> calibration,
        OnnxPrunerOptions? options = null,
        IProgress<ModelPruningProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(model);
        ArgumentException.ThrowIfNullOrEmpty(output);
        ArgumentNullException.ThrowIfNull(calibration);
        options ??= new OnnxPrunerOptions();
        options.Validate();
        return Task.Run(() => new OnnxPruningRun(model, output, calibration, options, progress, cancellationToken).Execute(), cancellationToken);
    }
}
