using System.Globalization;
using System.Text;
using Armor.Core.Modules;
using Armor.Runtime.Models;
using Armor.TinyModel.Corpus;
using Armor.TinyModel.Tokenizers;
using Armor.TinyModel.Training;

namespace Armor.TinyModel.Export;

/// <summary>Writes <c>MODEL_CARD.md</c> from the run's numbers, measured anew on the saved weights.</summary>
internal static class ModelCard
{
    public static void Write(
        TrainingOptions options, string folder, TrainingCheckpoint position, string command, double calibrationPerplexity, double evaluationPerplexity)
    {
        using var model = CausalLanguageModel.Load(folder);
        var vocabulary = TokenizerFiles.Read(folder);
        var heldOut = TrainingData.Cut(
            Books.Read(Path.Combine(options.Books, "heldout")), new BytePairEncoder(vocabulary), options.Context + 1, options.Context + 1);
        var nll = SequenceLoss.Evaluate(model, heldOut, heldOut.Count, options.Batch, vocabulary.EndToken);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"held-out perplexity {Math.Exp(nll):F3} on {heldOut.Count} sequences"));

        var configuration = model.Configuration;
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"""
            # armor-tiny

            A small Llama for tests, demonstrations and first steps with Armor.Core: small enough to be part of the repository, trained well
            enough that pruning it does measurable harm. It writes old-fashioned children's prose and knows nothing. It is no assistant.

            ## The model

            | | |
            | --- | --- |
            | architecture | Llama: {configuration.LayerCount} layers, hidden {configuration.HiddenSize}, intermediate {configuration.IntermediateSize}, {configuration.AttentionHeadCount} heads, {configuration.KeyValueHeadCount} key/value heads, tied embeddings, context {configuration.ContextLength} |
            | parameters | {ModelShapes.ParameterCount(configuration):N0}, of which {Prunable(configuration):N0} in the decoder's linears |
            | tokenizer | byte-level BPE, {vocabulary.Size} tokens, trained on the same books |
            | stored as | bfloat16 safetensors |
            | perplexity on the held-out books | {Math.Exp(nll):F2} a token ({heldOut.Count} sequences of {options.Context} tokens; bfloat16 weights, float32 arithmetic) |
            | perplexity on `calibration.txt`, `evaluation.txt` | {calibrationPerplexity:F2}, {evaluationPerplexity:F2} |

            ## Training

            Made by `tools/Armor.TinyModel`, on two CPU cores shared with other work, from random weights, in bfloat16 arithmetic over
            float32 weights: {position.Step:N0} steps of {options.Batch} × {options.Context} tokens, {position.Tokens:N0} predicted tokens in
            {position.Seconds / 60:F0} minutes. AdamW (betas {options.Beta1}, {options.Beta2}, weight decay {options.WeightDecay}), learning rate
            {options.LearningRate} after {options.WarmUpSteps} steps of warm-up, falling along a cosine to {options.FinalFraction * 100:F0} % over the
            last {options.DecayFraction * 100:F0} % of the run, gradients clipped at {options.MaximumGradient}. Commands, from the repository's root:

            ```
            {command}
            ```

            `calibration.txt` and `evaluation.txt` are not book text: they are sampled from the model itself at temperature 1, each with its own
            seed. Kept are samples that the tokenizer reads back as the tokens drawn and that have no period term for a people
            (`{Separator}` lies between them). The dense model's loss on its own samples is about their entropy, which no other model can be
            expected to fall below: what pruning adds to it is pruning's harm.

            ## Limits

            The books are from 1813 to 1923 and have that time's views. Titles with the crudest language, and one whose translator is not
            verified, are left out ({string.Join(", ", Books.Excluded.Keys.Select(Title))}); single period terms remain in others.
            The model has had no safety training, and nothing that it writes is to be taken for true. It writes English only, invents words,
            and its sentences seldom hold together.

            ## Licence

            The weights, the tokenizer and the sampled texts: MIT, as the rest of the repository. The books are in the public domain; headers,
            licences and names of the places that host them had been removed.

            ## Sources

            | title | author | first published | source |
            | --- | --- | --- | --- |

            """);
        foreach (var source in Sources(Path.Combine(options.Books, "MANIFEST.tsv")))
        {
            text.Append(CultureInfo.InvariantCulture, $"| {string.Join(" | ", source)} |\n");
        }

        File.WriteAllText(Path.Combine(folder, "MODEL_CARD.md"), text.ToString());
    }

    private const string Separator = Armor.Core.Evaluation.TextCorpus.DefaultSeparator;

    private static long Prunable(ModelConfiguration configuration) =>
        configuration.LayerCount * ModelShapes.Linears(configuration).Sum(linear => (long)linear.Rows * linear.Columns);

    private static string Title(string file) => Path.GetFileNameWithoutExtension(file).Replace('_', ' ');

    /// <summary>Title, author, year and source of every book that was trained on, in the manifest's order.</summary>
    private static IEnumerable<string[]> Sources(string manifest) =>
        File.ReadLines(manifest)
            .Skip(1)
            .Select(line => line.Split('\t'))
            .Where(row => !row[0].Contains('/') && !Books.Excluded.ContainsKey(row[0]))
            .Select(row => row[1..5]);
}
