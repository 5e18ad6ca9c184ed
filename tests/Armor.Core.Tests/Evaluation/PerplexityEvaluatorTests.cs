using Armor.Core.Evaluation;
using Armor.Core.Modules;
using TorchSharp;

namespace Armor.Core.Tests.Evaluation;

public sealed class PerplexityEvaluatorTests
{
    private TemporaryFolder folder = null!;
    private CausalLanguageModel model = null!;

    [OneTimeSetUp]
    public void LoadModel()
    {
        folder = new TemporaryFolder();
        model = CausalLanguageModel.Load(TinyLlama.Write(folder.Path));
    }

    [OneTimeTearDown]
    public void DisposeModel()
    {
        model.Dispose();
        folder.Dispose();
    }

    [TestCase(1)]
    [TestCase(64)]
    [TestCase(4096)]
    public void EachSequenceHasTheNllThatItHasAlone(int tokensPerBatch)
    {
        int[][] sequences = Sequences(17);

        PerplexityResult result = new PerplexityEvaluator(model) { TokensPerBatch = tokensPerBatch }.Evaluate(sequences);

        double[] expected = [.. sequences.Select(Nll)];
        Assert.That(result.SequenceNlls.Select(sequence => sequence.NllSum), Is.EqualTo(expected).Within(1e-4));
        Assert.That(result.SequenceNlls.Select(sequence => sequence.Predictions), Is.EqualTo(sequences.Select(sequence => sequence.Length - 1)));
        Assert.That(result.Nll, Is.EqualTo(expected.Sum() / sequences.Sum(sequence => sequence.Length - 1)).Within(1e-6));
        Assert.That(result.Perplexity, Is.EqualTo(Math.Exp(result.Nll)));
        Assert.That(result.Sequences, Is.EqualTo(17));
    }

    [Test]
    public void StandardErrorOfEqualLengthsIsThatOfTheMean()
    {
        double[] nll = [1.5, 2.5, 2.0, 4.0];
        PerplexityResult result = Result(nll.Select(value => new SequenceNll(value * 10, 10)));

        double mean = nll.Average();
        double expected = Math.Sqrt(nll.Sum(value => (value - mean) * (value - mean)) / 3 / 4);
        Assert.That(result.Nll, Is.EqualTo(mean));
        Assert.That(result.NllStandardError, Is.EqualTo(expected).Within(1e-12));
        Assert.That(Result([new SequenceNll(3, 2)]).NllStandardError, Is.Null);
    }

    [Test]
    public void StandardErrorAgreesWithTheSpreadOverDraws()
    {
        // Sequences drawn again and again from one population: the spread of the ratio is what its standard error estimates.
        var random = new Random(5);
        PerplexityResult[] draws =
        [
            .. Enumerable.Range(0, 2000).Select(_ => Result(Enumerable.Range(0, 40).Select(_ =>
            {
                int length = random.Next(5, 60);
                return new SequenceNll(length * (1.5 + random.NextDouble() + (length / 60.0)), length);
            }))),
        ];
        double mean = draws.Average(draw => draw.Nll);
        double spread = Math.Sqrt(draws.Average(draw => (draw.Nll - mean) * (draw.Nll - mean)));
        Assert.That(draws.Average(draw => draw.NllStandardError!.Value), Is.EqualTo(spread).Within(5).Percent);
    }

    [Test]
    public void PairedDifferenceLeavesOutWhatTheSequencesShare()
    {
        double[] hard = [1, 5, 2, 8];
        PerplexityResult dense = Result(hard.Select(value => new SequenceNll(value * 10, 10)));
        PerplexityResult pruned = Result(hard.Select((value, index) => new SequenceNll((value * 10) + 1 + (index % 2), 10)));

        NllDifference difference = pruned.Minus(dense);

        Assert.That(difference.Delta, Is.EqualTo(0.15).Within(1e-12));
        Assert.That(difference.StandardError, Is.EqualTo(Math.Sqrt(4 * 0.0025 / 3 / 4)).Within(1e-12));
        Assert.That(() => pruned.Minus(Result([new SequenceNll(1, 1)])), Throws.ArgumentException.With.Message.Contains("same sequences"));
    }

    [Test]
    public void WrongSequencesAreNamed()
    {
        var evaluator = new PerplexityEvaluator(model);
        Assert.That(() => evaluator.Evaluate([]), Throws.TypeOf<EvaluationException>().With.Message.Contains("no text"));
        Assert.That(() => evaluator.Evaluate([[1]]), Throws.TypeOf<EvaluationException>().With.Message.Contains("found 1"));
        Assert.That(() => evaluator.Evaluate([new int[TinyLlama.ContextLength + 1]]), Throws.TypeOf<EvaluationException>().With.Message.Contains("context"));
        Assert.That(() => evaluator.Evaluate([[1, 2], [1, TinyLlama.VocabularySize]]), Throws.TypeOf<EvaluationException>().With.Message.Contains("Sequence 1"));
    }

    [Test]
    public void ProgressEndsAtTheResultAndCancellationStops()
    {
        var reports = new List<EvaluationProgress>();
        using var source = new CancellationTokenSource();
        int[][] sequences = Sequences(9);
        var evaluator = new PerplexityEvaluator(model) { TokensPerBatch = 50 };

        PerplexityResult result = evaluator.Evaluate(sequences, new ImmediateProgress(reports.Add));
        Assert.That(reports, Has.Count.GreaterThan(1));
        Assert.That(reports[^1].Predictions, Is.EqualTo(result.Predictions).And.EqualTo(reports[^1].TotalPredictions));
        Assert.That(reports[^1].Nll, Is.EqualTo(result.Nll).Within(1e-12));

        int before = reports.Count;
        Assert.That(
            () => evaluator.Evaluate(
                sequences,
                new ImmediateProgress(report =>
                {
                    reports.Add(report);
                    source.Cancel();
                }),
                source.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(reports, Has.Count.EqualTo(before + 1));
    }

    [Test]
    public void NoTensorIsLeftBehind()
    {
        var evaluator = new PerplexityEvaluator(model);
        evaluator.Evaluate(Sequences(5));
        long before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
        evaluator.Evaluate(Sequences(5));
        Assert.That(DisposeScopeManager.Statistics.ThreadTotalLiveCount, Is.EqualTo(before));
    }

    private static PerplexityResult Result(IEnumerable<SequenceNll> sequences) => new() { SequenceNlls = [.. sequences], Seconds = 0 };

    private static int[][] Sequences(int count) => [.. TinyLlama.Sequences(count).Select(sequence => sequence.Take(TinyLlama.ContextLength).ToArray())];

    /// <summary>One sequence alone, softmax by hand in double.</summary>
    private double Nll(int[] sequence)
    {
        using var scope = torch.NewDisposeScope();
        using var noGradients = torch.no_grad();
        float[] logits = model.Forward(torch.tensor(sequence.Select(token => (long)token).ToArray()).unsqueeze(0)).data<float>().ToArray();
        double sum = 0;
        for (int place = 0; place + 1 < sequence.Length; place++)
        {
            ReadOnlySpan<float> row = logits.AsSpan(place * TinyLlama.VocabularySize, TinyLlama.VocabularySize);
            double normalizer = 0;
            foreach (float logit in row)
            {
                normalizer += Math.Exp(logit);
            }

            sum += Math.Log(normalizer) - row[sequence[place + 1]];
        }

        return sum;
    }

    private sealed class ImmediateProgress(Action<EvaluationProgress> report) : IProgress<EvaluationProgress>
    {
        public void Report(EvaluationProgress value) => report(value);
    }
}
