using Armor.Core.Calibration;
using Armor.Runtime.Models;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Calibration;

public class CalibrationBatchTests
{
    [Test]
    public void EveryTokenIsInExactlyOneBatchAndPaddingInNone()
    {
        var cases = from lengths in Gen.Int[1, 30].Array[1, 20] from budget in Gen.Int[1, 100] select (lengths, budget);
        cases.Sample(c =>
        {
            using var scope = NewDisposeScope();
            int next = 1;
            int[][] sequences = [.. c.lengths.Select(length => Enumerable.Range(0, length).Select(_ => next++).ToArray())];
            IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(sequences, c.budget, CPU);
            var seen = new List<long>();
            foreach (CalibrationBatch batch in batches)
            {
                long[] selected = batch.SelectTokens(batch.Tokens.unsqueeze(-1)).data<long>().ToArray();
                Assert.That(selected, Has.Length.EqualTo(batch.TokenCount));
                Assert.That(batch.Tokens.shape[0] == 1 || batch.Tokens.numel() <= c.budget, Is.True);
                seen.AddRange(selected);
                batch.Dispose();
            }

            Assert.That(seen, Is.EquivalentTo(sequences.SelectMany(sequence => sequence.Select(token => (long)token))));
        }, iter: 200);
    }

    [Test]
    public void ASequenceStartsItsRowAndKeepsItsOrder()
    {
        using var scope = NewDisposeScope();
        using CalibrationBatch batch = CalibrationBatch.Create([[1, 5], [1, 6, 7]], 100, CPU).Single();
        Assert.That(batch.Tokens.data<long>().ToArray(), Is.EqualTo(new long[] { 1, 6, 7, 1, 5, 0 }));
    }

    [Test]
    public void SequencesAreCutToTheContextAndCounted()
    {
        ModelConfiguration configuration = Configuration(contextLength: 5);
        IReadOnlyList<int[]> kept = CalibrationSequences.Select([[1], [1, 2, 3, 4, 5, 6], [1, 2], [1, 3]], 2, configuration);
        Assert.That(kept, Is.EqualTo(new[] { new[] { 1, 2, 3, 4 }, [1, 2] }));
    }

    [Test]
    public void ProblemsOfCalibrationTextAreNamed()
    {
        ModelConfiguration configuration = Configuration(contextLength: 5);
        AssertFails([], configuration, "found none");
        AssertFails([[1], [1]], configuration, "all 2 are shorter");
        AssertFails([[1, 2]], Configuration(contextLength: 2), "context of at least 3 tokens; the model's is 2");
        AssertFails([[1, 2], [1, 64]], configuration, "text 1: token 64 is outside the model's vocabulary of 64");
        AssertFails([[1, -1]], configuration, "token -1");
    }

    private static void AssertFails(int[][] sequences, ModelConfiguration configuration, string message) =>
        Assert.That(
            () => CalibrationSequences.Select(sequences, 10, configuration),
            Throws.TypeOf<CalibrationException>().With.Message.Contains(message));

    private static ModelConfiguration Configuration(int contextLength)
    {
        using var folder = new TemporaryFolder();
        return ModelConfiguration.Load(TinyLlama.Write(folder.Path)) with { ContextLength = contextLength };
    }
}
