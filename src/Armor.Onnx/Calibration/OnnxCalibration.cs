using Armor.Core.Calibration;
using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Tokenization;
using Microsoft.ML.OnnxRuntime;

namespace Armor.Onnx.Calibration;

/// <summary>
/// Calibration inputs for <see cref="Pruning.OnnxPruner"/>: from texts or tokens for language models, from NumPy's files for any model. An application
/// may as well pass a list of its own.
/// </summary>
public static class OnnxCalibration
{
    /// <summary>The most tokens of a text where the model's folder does not tell its context.</summary>
    public const int DefaultMaxTokens = 512;

    /// <summary>
    /// One run for each text: <c>input_ids</c> with all that goes with it – attention mask, positions, token types, empty keys and values of the past.
    /// </summary>
    /// <param name="model">The ONNX file.</param>
    /// <param name="tokenizer">The folder of <c>tokenizer.json</c> or <c>tokenizer.model</c>, and of <c>config.json</c> if there is one.</param>
    /// <param name="texts">The texts; empty ones are left out.</param>
    /// <param name="maxTokens">The most tokens of a text; null: the context that <c>config.json</c> tells, or <see cref="DefaultMaxTokens"/>.</param>
    /// <exception cref="OnnxException">The model takes other inputs.</exception>
    /// <exception cref="CheckpointException">The tokenizer is missing, damaged or of a kind that is not supported.</exception>
    /// <exception cref="CalibrationException">There is no text.</exception>
    public static IEnumerable<IReadOnlyCollection<NamedOnnxValue>> FromTexts(
        string model, string tokenizer, IEnumerable<string> texts, int? maxTokens = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(tokenizer);
        ArgumentNullException.ThrowIfNull(texts);
        ModelTokenizer encoder = ModelTokenizer.Load(tokenizer);
        int most = maxTokens ?? ContextFile.Read(tokenizer) ?? DefaultMaxTokens;
        return FromTokens(model, texts.Where(text => !string.IsNullOrWhiteSpace(text)).Select(text => encoder.Encode(text, addBeginOfSequence: true).Take(most).ToArray()));
    }

    /// <summary>One run for each sequence of tokens, as of <see cref="FromTexts"/>.</summary>
    /// <param name="model">The ONNX file.</param>
    /// <param name="sequences">Token ids.</param>
    /// <exception cref="OnnxException">The model takes other inputs.</exception>
    /// <exception cref="CalibrationException">There is no sequence, or one without tokens.</exception>
    public static IEnumerable<IReadOnlyCollection<NamedOnnxValue>> FromTokens(string model, IEnumerable<int[]> sequences)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        int[][] all = [.. sequences];
        if (all.Length == 0 || all.Any(sequence => sequence.Length == 0))
        {
            throw new CalibrationException($"Calibration needs sequences of tokens; found {(all.Length == 0 ? "none" : "an empty one")}.");
        }

        ValueInfoProto[] inputs = InputsOf(model);
        TokenInputs.Require(model, inputs);
        return all.Select(sequence => TokenInputs.Create(model, inputs, sequence));
    }

    /// <summary>
    /// One run for each file: an <c>.npz</c> holds an array for each input of the model, under its name; an <c>.npy</c> the array of a model's only input.
    /// Types and shapes are those that the model takes.
    /// </summary>
    /// <param name="model">The ONNX file.</param>
    /// <param name="files">Files, read when their turn comes.</param>
    /// <exception cref="OnnxException">There is no file, or while they are gone through, one is damaged or does not fit the model.</exception>
    public static IEnumerable<IReadOnlyCollection<NamedOnnxValue>> FromNumPy(string model, IReadOnlyList<string> files)
    {
        ArgumentNullException.ThrowIfNull(files);
        ValueInfoProto[] inputs = InputsOf(model);
        return files.Count > 0
            ? files.Select(file => NumPyFile.Read(model, inputs, file))
            : throw new OnnxException(model, "calibration needs files of inputs", null, "at least one .npz or .npy", "none");
    }

    // Initializers of old models are inputs as well, which nobody need give.
    private static ValueInfoProto[] InputsOf(string model)
    {
        using OnnxFile file = OnnxFile.Open(model);
        HashSet<string> constants = [.. file.Graph.Initializer.Select(tensor => tensor.Name)];
        return [.. file.Graph.Input.Where(input => !constants.Contains(input.Name))];
    }
}
