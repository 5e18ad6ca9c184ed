using System.Globalization;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Runtime.Tokenization;
using Armor.TinyModel.Sampling;
using Armor.TinyModel.Tokenizers;
using Armor.TinyModel.Training;
using TorchSharp;

namespace Armor.TinyModel.Export;

/// <summary>Makes the whole folder of the embedded model: weights, tokenizer, sampled texts, model card.</summary>
internal static class EmbeddedModel
{
    public const int CalibrationSeed = 101;
    public const int EvaluationSeed = 202;

    public static void Export(TrainingOptions options, string folder, int calibrationTexts, int evaluationTexts)
    {
        torch.set_num_threads(options.Threads);
        var position = ModelFolder.Write(options, folder);
        using var model = CausalLanguageModel.Load(folder);
        var encoder = new BytePairEncoder(TokenizerFiles.Read(folder));
        // One token less than the context: readers of such texts cut there.
        var length = options.Context - 1;
        Sample(model, encoder, calibrationTexts, length, CalibrationSeed, Path.Combine(folder, "calibration.txt"));
        Sample(model, encoder, evaluationTexts, length, EvaluationSeed, Path.Combine(folder, "evaluation.txt"));
        var tokenizer = ModelTokenizer.Load(folder);
        ModelCard.Write(
            options,
            folder,
            position,
            Commands(options, calibrationTexts, evaluationTexts),
            Measure(model, tokenizer, Path.Combine(folder, "calibration.txt")),
            Measure(model, tokenizer, Path.Combine(folder, "evaluation.txt")));
    }

    private static void Sample(CausalLanguageModel model, BytePairEncoder encoder, int count, int length, int seed, string path)
    {
        var samples = SampleCollection.Collect(model, encoder, count, length, seed);
        samples.Write(path);
        Console.WriteLine($"{Path.GetFileName(path)}: {samples}");
    }

    /// <summary>Perplexity as the library's user measures it, with the tokenizer of the library.</summary>
    private static double Measure(CausalLanguageModel model, ModelTokenizer tokenizer, string path)
    {
        var documents = TextCorpus.SplitDocuments(File.ReadAllText(path));
        var result = new PerplexityEvaluator(model).Evaluate([.. TextCorpus.TokenizeDocuments(documents, tokenizer, model.Configuration.ContextLength)]);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{Path.GetFileName(path)}: perplexity {result.Perplexity:F3}, {result.Sequences} sequences, {result.Predictions} predictions"));
        return result.Perplexity;
    }

    private static string Commands(TrainingOptions options, int calibrationTexts, int evaluationTexts)
    {
        const string Tool = "dotnet run -c Release --project tools/Armor.TinyModel --";
        const string Folders = "--books ../shared/data/text/books --work artifacts/tiny";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"""
            {Tool} tokenizer {Folders}
            {Tool} train {Folders} --steps {options.Steps} --beta2 {options.Beta2}
            {Tool} export {Folders} --steps {options.Steps} --beta2 {options.Beta2} --output assets/armor-tiny --calibration {calibrationTexts} --evaluation {evaluationTexts}
            """);
    }
}
