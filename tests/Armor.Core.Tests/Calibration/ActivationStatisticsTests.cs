using Armor.Core.Calibration;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Calibration;

public class ActivationStatisticsTests
{
    [Test]
    public void MomentsEqualAFloat64ReferenceForAnyBatching()
    {
        var cases = from tokens in Gen.Int[1, 40]
                    from dimension in Gen.Int[1, 9]
                    from cut in Gen.Int[0, 40]
                    from seed in Gen.Int[0, 1_000_000]
                    select (tokens, dimension, cut: Math.Min(cut, tokens), seed);
        cases.Sample(c =>
        {
            using var scope = NewDisposeScope();
            double[,] pruned = Random(c.tokens, c.dimension, c.seed);
            double[,] dense = Random(c.tokens, c.dimension, c.seed + 1);
            Tensor prunedInputs = tensor(pruned, float32);
            Tensor denseInputs = tensor(dense, float32);
            using var accumulator = new ActivationAccumulator("q", c.dimension, ActivationMoments.Hessian | ActivationMoments.CrossMoment);
            accumulator.Add(prunedInputs[..c.cut], denseInputs[..c.cut]);
            accumulator.Add(prunedInputs[c.cut..], denseInputs[c.cut..]);
            using ActivationStatistics statistics = accumulator.Build();

            Assert.That(statistics.TokenCount, Is.EqualTo(c.tokens));
            AssertClose(statistics.Hessian!, MeanProduct(pruned, pruned));
            AssertClose(statistics.CrossMoment!, MeanProduct(dense, pruned));
            Assert.That(statistics.Diagonal.equal(statistics.Hessian!.diagonal()).all().item<bool>(), Is.True);
            Assert.That(statistics.Hessian.equal(statistics.Hessian.t()).all().item<bool>(), Is.True);

            using var diagonalOnly = new ActivationAccumulator("q", c.dimension, ActivationMoments.Diagonal);
            diagonalOnly.Add(prunedInputs);
            using ActivationStatistics diagonal = diagonalOnly.Build();
            Assert.That(diagonal.Hessian, Is.Null);
            Assert.That((diagonal.Diagonal - statistics.Diagonal).abs().max().item<double>(), Is.LessThan(1e-5));
        }, iter: 100);
    }

    [TestCase(300)]
    [TestCase(1030)]
    public void StripsOfALargeMomentEqualTheWholeProduct(int dimension)
    {
        using var scope = NewDisposeScope();
        Tensor pruned = randn([50, dimension], float32, generator: new Generator(1));
        Tensor dense = randn([50, dimension], float32, generator: new Generator(2));
        using var accumulator = new ActivationAccumulator("q", dimension, ActivationMoments.CrossMoment);
        accumulator.Add(pruned[..20], dense[..20]);
        accumulator.Add(pruned[20..], dense[20..]);
        using ActivationStatistics copied = accumulator.Build();
        using ActivationStatistics taken = accumulator.Take();
        foreach (ActivationStatistics statistics in new[] { copied, taken })
        {
            Tensor p = pruned.to(float64);
            Assert.That((statistics.Hessian! - (p.t().mm(p) / tensor(50.0, float64))).abs().max().item<double>(), Is.LessThan(1e-5));
            Assert.That((statistics.CrossMoment! - (dense.to(float64).t().mm(p) / tensor(50.0, float64))).abs().max().item<double>(), Is.LessThan(1e-5));
            Assert.That(statistics.Hessian!.Equals(statistics.Hessian!.t().contiguous()), Is.True, "symmetric to the last bit");
        }
    }

    [Test]
    public void SumsStayExactWhereFloat32SumsWouldStall()
    {
        // 2^25 tokens of ones: a float32 sum stops at 2^24.
        using var scope = NewDisposeScope();
        using var accumulator = new ActivationAccumulator("q", 1, ActivationMoments.Diagonal);
        accumulator.Add(ones(1 << 24, 1));
        accumulator.Add(ones(1 << 24, 1));
        accumulator.Add(ones(1, 1) * 2);
        using ActivationStatistics statistics = accumulator.Build();
        Assert.That(statistics.Diagonal.item<double>() * statistics.TokenCount, Is.EqualTo((1 << 25) + 4.0));
    }

    [Test]
    public void MomentsOfManyInputsAreSummedInFloat32()
    {
        const int Dimension = 4100;
        using var scope = NewDisposeScope();
        Tensor inputs = randn([48, Dimension], float32, generator: new Generator(11));
        Tensor dense = randn([48, Dimension], float32, generator: new Generator(12));
        using var accumulator = new ActivationAccumulator("down", Dimension, ActivationMoments.CrossMoment);
        foreach (long start in (long[])[0, 16, 32])
        {
            accumulator.Add(inputs.narrow(0, start, 16), dense.narrow(0, start, 16));
        }

        using ActivationStatistics statistics = accumulator.Take();
        Assert.That(statistics.Hessian!.dtype, Is.EqualTo(float32));
        Assert.That(statistics.Diagonal.dtype, Is.EqualTo(float64));
        foreach (long first in (long[])[0, Dimension - 5])
        {
            Assert.That(Difference(statistics.Hessian, inputs), Is.LessThan(1e-6));
            Assert.That(Difference(statistics.CrossMoment!, dense), Is.LessThan(1e-6));

            double Difference(Tensor moment, Tensor left) =>
                (moment.narrow(0, first, 5) - (left.narrow(1, first, 5).to(float64).t().mm(inputs.to(float64)) / tensor(48.0, float64))).abs().max().item<double>();
        }
    }

    [Test]
    public void ResidualMomentIsTheMeanOfMissingTimesInputs()
    {
        using var scope = NewDisposeScope();
        Tensor inputs = randn(30, 12);
        Tensor missing = randn(30, 5);
        using var accumulator = new ActivationAccumulator("o", 12, ActivationMoments.Hessian | ActivationMoments.CrossMoment | ActivationMoments.ResidualMoment);
        accumulator.Add(inputs.narrow(0, 0, 11), inputs.narrow(0, 0, 11), missing.narrow(0, 0, 11));
        accumulator.Add(inputs.narrow(0, 11, 19), inputs.narrow(0, 11, 19), missing.narrow(0, 11, 19));
        using ActivationStatistics statistics = accumulator.Build();
        Tensor expected = missing.to(float64).t().mm(inputs.to(float64)) / tensor(30.0, float64);
        Assert.That((statistics.ResidualMoment! - expected).abs().max().item<double>(), Is.LessThan(1e-5));
        Assert.That(() => accumulator.Add(inputs, inputs), Throws.ArgumentException.With.Message.Contains("differences of residuals"));
        Assert.That(() => accumulator.Add(inputs, inputs, missing.narrow(0, 0, 29)), Throws.ArgumentException.With.Message.Contains("[29, 5]"));
    }

    [Test]
    public void CrossMomentEqualsTheHessianWhenBothStreamsAreEqual()
    {
        using var scope = NewDisposeScope();
        Tensor inputs = tensor(Random(300, 12, 5), float32);
        using var accumulator = new ActivationAccumulator("q", 12, ActivationMoments.CrossMoment);
        accumulator.Add(inputs, inputs);
        using ActivationStatistics statistics = accumulator.Build();
        Assert.That((statistics.CrossMoment! - statistics.Hessian!).abs().max().item<double>(), Is.LessThan(1e-6));
    }

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    public void AnInputThatIsNotFiniteNamesItsLinear(float bad)
    {
        using var scope = NewDisposeScope();
        Tensor inputs = ones(4, 3);
        inputs[2, 1] = bad;
        using var accumulator = new ActivationAccumulator("model.layers.3.mlp.down_proj", 3, ActivationMoments.Hessian);
        accumulator.Add(ones(2, 3));
        var error = Assert.Throws<CalibrationException>(() => accumulator.Add(inputs));
        Assert.That(error!.Message, Does.Contain("model.layers.3.mlp.down_proj").And.Contain("1 NaN or infinite of 12"));
        Assert.That(accumulator.TokenCount, Is.EqualTo(2));
    }

    [Test]
    public void SquaresThatOverflowAreAnError()
    {
        using var scope = NewDisposeScope();
        using var accumulator = new ActivationAccumulator("k", 2, ActivationMoments.Diagonal);
        accumulator.Add(full(new long[] { 1, 2 }, 1e30, float32));
        Assert.That(() => accumulator.Build(), Throws.TypeOf<CalibrationException>().With.Message.Contains("k: inputs are too large"));
    }

    [Test]
    public void WrongUseIsRefusedWithWhatWasExpected()
    {
        using var scope = NewDisposeScope();
        using var plain = new ActivationAccumulator("q", 3, ActivationMoments.Hessian);
        using var cross = new ActivationAccumulator("q", 3, ActivationMoments.CrossMoment);
        Assert.That(() => plain.Build(), Throws.TypeOf<CalibrationException>());
        Assert.That(() => plain.Add(ones(2, 4)), Throws.ArgumentException.With.Message.Contains("[tokens, 3]").And.Message.Contains("[2, 4]"));
        Assert.That(() => plain.Add(ones(2, 3), ones(2, 3)), Throws.ArgumentException);
        Assert.That(() => cross.Add(ones(2, 3)), Throws.ArgumentException);
        Assert.That(() => cross.Add(ones(2, 3), ones(1, 3)), Throws.ArgumentException);
    }

    [Test]
    public void OwnDataIsCopiedAndChecked()
    {
        using var scope = NewDisposeScope();
        Tensor hessian = tensor(new double[,] { { 2, 1 }, { 1, 3 } });
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(hessian, 10, hessian);
        hessian.zero_();
        Assert.That(statistics.Diagonal.data<double>().ToArray(), Is.EqualTo(new[] { 2.0, 3.0 }));
        Assert.That(statistics.CrossMoment![0, 1].item<double>(), Is.EqualTo(1.0));
        Assert.That(statistics.Dimension, Is.EqualTo(2));

        using ActivationStatistics diagonal = ActivationStatistics.FromDiagonal([1.0, 4.0], 7);
        Assert.That(diagonal.TokenCount, Is.EqualTo(7));
        Assert.That(diagonal.Diagonal.data<double>().ToArray(), Is.EqualTo(new[] { 1.0, 4.0 }));

        Assert.That(() => ActivationStatistics.FromDiagonal([1.0, -4.0], 7), Throws.ArgumentException);
        Assert.That(() => ActivationStatistics.FromDiagonal([1.0, double.NaN], 7), Throws.ArgumentException);
        Assert.That(() => ActivationStatistics.FromDiagonal([], 7), Throws.ArgumentException);
        Assert.That(() => ActivationStatistics.FromDiagonal([1.0], 0), Throws.ArgumentException);
        Assert.That(() => ActivationStatistics.FromHessian(ones(2, 3), 1), Throws.ArgumentException);
        Assert.That(() => ActivationStatistics.FromHessian(tensor(new double[,] { { 2, 1 }, { 0, 3 } }), 1), Throws.ArgumentException);
        Assert.That(() => ActivationStatistics.FromHessian(ones(2, 2), 1, ones(3, 3)), Throws.ArgumentException);
    }

    [Test]
    public void InputsOfAnyLeadingShapeAreFlattened()
    {
        using var scope = NewDisposeScope();
        Tensor inputs = tensor(Random(6, 4, 3), float32);
        using ActivationStatistics flat = ActivationStatistics.FromInputs(inputs);
        using ActivationStatistics batched = ActivationStatistics.FromInputs(inputs.reshape(2, 3, 4));
        Assert.That(batched.TokenCount, Is.EqualTo(6));
        Assert.That(flat.Hessian!.equal(batched.Hessian!).all().item<bool>(), Is.True);
    }

    [Test]
    public void NothingIsLeftBehind()
    {
        using var scope = NewDisposeScope();
        Tensor inputs = ones(5000, 8);
        long before = Tensor.TotalCount;
        using (var accumulator = new ActivationAccumulator("q", 8, ActivationMoments.CrossMoment))
        {
            accumulator.Add(inputs, inputs);
            accumulator.Build().Dispose();
        }

        ActivationStatistics.FromDiagonal([1.0], 1).Dispose();
        ActivationStatistics.FromHessian(inputs[..8] * eye(8), 1).Dispose();
        scope.DisposeEverythingBut(inputs);
        Assert.That(Tensor.TotalCount, Is.EqualTo(before));
    }

    private static double[,] Random(int rows, int columns, int seed)
    {
        var random = new Random(seed);
        var values = new double[rows, columns];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                values[row, column] = (float)((random.NextDouble() * 2) - 1);
            }
        }

        return values;
    }

    private static double[,] MeanProduct(double[,] left, double[,] right)
    {
        int dimension = left.GetLength(1);
        var mean = new double[dimension, dimension];
        for (int token = 0; token < left.GetLength(0); token++)
        {
            for (int i = 0; i < dimension; i++)
            {
                for (int j = 0; j < dimension; j++)
                {
                    mean[i, j] += left[token, i] * right[token, j] / left.GetLength(0);
                }
            }
        }

        return mean;
    }

    private static void AssertClose(Tensor actual, double[,] expected)
    {
        Assert.That(actual.dtype, Is.EqualTo(ScalarType.Float64));
        Assert.That((actual - tensor(expected)).abs().max().item<double>(), Is.LessThan(1e-6));
    }
}
