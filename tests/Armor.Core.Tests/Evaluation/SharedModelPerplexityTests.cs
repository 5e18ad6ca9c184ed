using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Tests.Evaluation;

[Category("SharedData")]
public sealed class SharedModelPerplexityTests
{
    [TestCase("babyllama361", 1.7461, 15_240)]
    [TestCase("stories260K", 3.6541, 20_415)]
    public void DensePerplexityIsTheRecordedOne(string name, double expected, int predictions)
    {
        string folder = SharedData.Path($"models/{name}");
        string text = File.ReadAllText(SharedData.Path("text/eval/tinystories-eval.txt"));
        using CausalLanguageModel model = CausalLanguageModel.Load(folder);
        IEnumerable<int[]> sequences = TextCorpus
            .TokenizeDocuments(TextCorpus.SplitDocuments(text, minimumLength: 200), ModelTokenizer.Load(folder), model.Configuration.ContextLength)
            .Take(60);

        PerplexityResult result = new PerplexityEvaluator(model).Evaluate(sequences);

        Assert.That(result.Predictions, Is.EqualTo(predictions));
        Assert.That(result.Perplexity, Is.EqualTo(expected).Within(0.1).Percent);
    }
}
