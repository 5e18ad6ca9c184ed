using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Tests.Modules;

/// <summary>What is committed in <c>assets/armor-tiny</c> is whole, small, and as good as its card says.</summary>
public sealed class EmbeddedModelTests
{
    private static readonly string s_folder = RepositoryFolder.Path("assets/armor-tiny");

    [Test]
    public void The_checkpoint_is_whole_and_small()
    {
        using var checkpoint = CheckpointFolder.Open(s_folder);
        CheckpointVerification.Verify(checkpoint);
        Assert.That(checkpoint.Tensors.Values.Select(tensor => tensor.ElementType), Is.All.EqualTo(TensorElementType.BFloat16));
        Assert.That(new FileInfo(Path.Combine(s_folder, "model.safetensors")).Length, Is.LessThan(14_000_000));
        Assert.That(checkpoint.Configuration.VocabularySize, Is.EqualTo(ModelTokenizer.Load(s_folder).VocabularySize));
    }

    [TestCase("calibration.txt", 320)]
    [TestCase("evaluation.txt", 256)]
    public void Sampled_texts_fill_the_context_and_come_back_from_their_tokens(string file, int count)
    {
        var tokenizer = ModelTokenizer.Load(s_folder);
        var documents = Documents(file);
        Assert.That(documents, Has.Count.EqualTo(count).And.Unique);
        foreach (var document in documents)
        {
            var tokens = tokenizer.Encode(document);
            Assert.That(tokens[0], Is.EqualTo(tokenizer.BeginOfSequence));
            Assert.That(tokens, Has.Count.LessThanOrEqualTo(255));
            Assert.That(tokenizer.Decode(tokens), Is.EqualTo(document));
        }

        Assert.That(documents.Average(document => tokenizer.Encode(document).Count), Is.GreaterThan(240));
    }

    [Test]
    public void The_two_sampled_texts_have_no_document_in_common() =>
        Assert.That(Documents("calibration.txt").Intersect(Documents("evaluation.txt")), Is.Empty);

    [Test]
    public void Perplexity_is_what_training_reached()
    {
        using var model = CausalLanguageModel.Load(s_folder);
        var sequences = TextCorpus.TokenizeDocuments(Documents("evaluation.txt").Take(24), ModelTokenizer.Load(s_folder), 256);
        var result = new PerplexityEvaluator(model).Evaluate(sequences);

        // Measured at the export; the tolerance covers other machines' arithmetic.
        Assert.That(result.Perplexity, Is.EqualTo(30.927).Within(0.5).Percent);
    }

    [Test]
    public void The_card_names_no_excluded_source()
    {
        var card = File.ReadAllText(Path.Combine(s_folder, "MODEL_CARD.md"));
        var sources = card[card.IndexOf("## Sources", StringComparison.Ordinal)..];
        Assert.That(sources.Split('\n').Count(line => line.StartsWith("| ", StringComparison.Ordinal)) - 2, Is.EqualTo(99));
        foreach (var title in new[] { "Tom Sawyer", "White Fang", "Peter Pan", "Dolittle", "Lost World", "Andersen" })
        {
            Assert.That(sources, Does.Not.Contain(title));
        }
    }

    private static IReadOnlyList<string> Documents(string file) => TextCorpus.SplitDocuments(File.ReadAllText(Path.Combine(s_folder, file)));
}
