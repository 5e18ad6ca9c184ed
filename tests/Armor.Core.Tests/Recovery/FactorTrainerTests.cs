using Armor.Core.Evaluation;
using Armor.Core.Recovery;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Recovery;

public class FactorTrainerTests
{
    private static readonly RecoveryOptions Quick = new() { EvaluationSteps = 2, Patience = 3, WarmUpSteps = 2 };

    [Test]
    public void LossesThatAreNotFiniteLeadBackAndEndTheTraining()
    {
        using TrainableFactors factors = Factors();
        float[] start = Values(factors);
        using FactorTrainer trainer = Create(factors, Quick with { Patience = 100 }, steps: 100, accumulate: step => step >= 3 ? double.NaN : 1, measure: () => 1);
        TrainingOutcome outcome = trainer.Run();
        Assert.That(outcome.Stop, Is.EqualTo(RecoveryStop.Diverged));
        Assert.That(outcome.Notes, Has.Count.EqualTo(4));
        Assert.That(outcome.Notes[0], Does.Contain("Step 4").And.Contain("0.5"));
        Assert.That(Values(factors), Is.EqualTo(start));
        Assert.That(outcome.After, Is.EqualTo(1));
    }

    [Test]
    public void TheBestMeasurementIsKeptAndPatienceEnds()
    {
        using TrainableFactors factors = Factors();
        int measured = 0;
        float[]? best = null;
        double[] losses = [5, 4, 3, 3.5, 3.2, 3.1, 1];
        using FactorTrainer trainer = Create(factors, Quick, steps: 100, accumulate: Push, measure: () =>
        {
            double loss = losses[measured++];
            best = loss == 3 ? Values(factors) : best;
            return loss;
        });
        TrainingOutcome outcome = trainer.Run();
        Assert.That((outcome.Before, outcome.After, outcome.Steps, outcome.Stop), Is.EqualTo((5.0, 3.0, 10, RecoveryStop.EarlyStop)));
        Assert.That(Values(factors), Is.EqualTo(best!.Select(value => value)).Within(1e-3), "to the storage type");

        double Push(int step)
        {
            using var withoutGradients = no_grad();
            factors.Gradients.fill_(1);
            return 1;
        }
    }

    [Test]
    public void AboveTheStartButFallingIsNoReasonToStop()
    {
        using TrainableFactors factors = Factors();
        double[] losses = [1, 9, 8, 7, 6, 5, 0.5];
        int measured = 0;
        using FactorTrainer trainer = Create(factors, Quick, steps: 12, accumulate: _ => 1, measure: () => losses[measured++]);
        TrainingOutcome outcome = trainer.Run();
        Assert.That((outcome.After, outcome.Steps, outcome.Stop), Is.EqualTo((0.5, 12, RecoveryStop.Finished)));
    }

    [Test]
    public void AStartThatIsNotFiniteIsRefused()
    {
        using TrainableFactors factors = Factors();
        using FactorTrainer trainer = Create(factors, Quick, steps: 10, accumulate: _ => 1, measure: () => double.NaN);
        Assert.That(trainer.Run, Throws.TypeOf<EvaluationException>().With.Message.Contains("not finite"));
    }

    [Test]
    public void TheRateWarmsUpAndFallsToAHundredth()
    {
        double[] rates = [.. Enumerable.Range(0, 101).Select(step => RateSchedule.At(step, 100, 4, 2))];
        Assert.That(rates[..5], Is.EqualTo(new[] { 0.4, 0.8, 1.2, 1.6, 2 }).Within(1e-12));
        Assert.That(rates[4..], Is.Ordered.Descending);
        Assert.That(rates[100], Is.EqualTo(0.02).Within(1e-12));
    }

    [Test]
    public void EveryEpochVisitsEachSequenceOnceInAnOrderOfItsOwn()
    {
        var order = new TrainingOrder(12, 4, seed: 3);
        int[][] steps = [.. Enumerable.Range(0, 6).Select(order.At)];
        Assert.That(steps[..3].SelectMany(step => step).Order(), Is.EqualTo(Enumerable.Range(0, 12)));
        Assert.That(steps[3..].SelectMany(step => step).Order(), Is.EqualTo(Enumerable.Range(0, 12)));
        Assert.That(steps[..3].SelectMany(step => step), Is.Not.EqualTo(steps[3..].SelectMany(step => step)));
        Assert.That(new TrainingOrder(12, 4, seed: 3).At(4), Is.EqualTo(steps[4]), "whatever was asked before");
    }

    private static TrainableFactors Factors() =>
        new([KeyValuePair.Create("linear", RandomLayers.Create(4, 8, 2, 4, SparsityPattern.TwoFour))]);

    private static FactorTrainer Create(TrainableFactors factors, RecoveryOptions options, int steps, Func<int, double> accumulate, Func<double> measure) =>
        new(factors, (TensorElementType.Float16, TensorElementType.Float16), new TrainingPlan(steps, 0.01, options), accumulate, measure, CancellationToken.None);

    private static float[] Values(TrainableFactors factors) => factors.Values.data<float>().ToArray();
}
