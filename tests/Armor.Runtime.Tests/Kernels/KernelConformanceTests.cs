using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Tests.Factorization;
using CsCheck;

namespace Armor.Runtime.Tests.Kernels;

/// <summary>What every backend must do, against dense float64 products: run over each backend by a class of one line.</summary>
/// <param name="tolerance">The largest normalised mean square error.</param>
public abstract class KernelConformanceTests(IKernelBackend backend, double tolerance)
{
    private const int Guard = 19;
    private const float Sentinel = -12345.678f;

    [Test]
    public void DenseOfEveryWidth([Range(1, 70)] int columns)
    {
        var random = new Random(columns);
        foreach (var (rows, batch) in new[] { (1, 1), (3, 2), (17, 5) })
        {
            var weight = Generators.Values(random, rows * columns);
            var dense = new double[rows, columns];
            Array.ForEach([.. Enumerable.Range(0, weight.Length)], i => dense[i / columns, i % columns] = weight[i]);
            Check(dense, batch, random, (input, output) => backend.MultiplyDense(weight, rows, columns, input, batch, output));
        }
    }

    [Test]
    public void SparseOfEveryWidth([Range(4, 144, 4)] int columns)
    {
        var random = new Random(columns);
        foreach (var (rows, batch) in new[] { (1, 1), (3, 2), (17, 5) })
        {
            var core = Generators.RandomCore(rows, columns, random);
            Check(Generators.Dense(core), batch, random, (input, output) => backend.Multiply(core, input, batch, output));
        }
    }

    [Test]
    public void SparseOfEveryPattern([ValueSource(typeof(Generators), nameof(Generators.Patterns))] SparsityPattern pattern, [Range(1, 12)] int groups)
    {
        var random = new Random(groups);
        var core = Generators.RandomCore(3, groups * pattern.Group, random, pattern);
        Check(Generators.Dense(core), 2, random, (input, output) => backend.Multiply(core, input, 2, output));
    }

    [Test]
    public void BlockDiagonalOfEveryBlock([Range(1, 40)] int block, [Values(1, 3)] int count)
    {
        var random = new Random(block);
        var matrix = new BlockDiagonalMatrix(count, block, Generators.Values(random, count * block * block));
        Check(Generators.Dense(matrix, matrix.Size), 3, random, (input, output) => backend.Multiply(matrix, input, 3, output));
    }

    [TestCase(1, 4, 1, 1)]
    [TestCase(5, 4, 5, 2)]
    [TestCase(3, 12, null, 3)]
    [TestCase(6, 8, 3, null)]
    [TestCase(7, 20, null, null)]
    [TestCase(172, 64, 43, 64)]
    [TestCase(64, 172, 4, 172)]
    [TestCase(352, 128, 8, 8)]
    [TestCase(128, 352, 16, 16)]
    public void LayersOfRealAndAwkwardShapes(int rows, int columns, int? outputBlock, int? inputBlock)
    {
        var layer = Generators.RandomLayer(rows, columns, outputBlock, inputBlock, 5);
        foreach (var batch in new[] { 1, 4, 7 })
        {
            Check(Generators.Dense(layer), batch, new Random(batch), (input, output) => backend.Multiply(layer, input, batch, output));
        }
    }

    [Test]
    public void AnyLayer()
        => Gen.Select(Generators.Layer, Gen.Int[0, 6], Gen.Int).Sample(
            (layer, batch, seed) => Check(Generators.Dense(layer), batch, new Random(seed), (input, output) => backend.Multiply(layer, input, batch, output)),
            iter: 200);

    [Test]
    public void AResultDoesNotDependOnTheBatch()
    {
        var layer = Generators.RandomLayer(24, 44, 6, 11, 3);
        var input = Generators.Values(new Random(4), 5 * 44);
        var together = new float[5 * 24];
        backend.Multiply(layer, input, 5, together);
        for (var item = 0; item < 5; item++)
        {
            var alone = new float[24];
            backend.Multiply(layer, input.AsSpan(item * 44, 44), 1, alone);
            Assert.That(alone, Is.EqualTo(together[(item * 24)..((item + 1) * 24)]));
        }
    }

    [Test]
    public void WrongLengthsAreRefused()
    {
        var layer = Generators.RandomLayer(6, 8, 3, 4, 1);
        Assert.That(() => backend.Multiply(layer, new float[15], 2, new float[12]), Throws.ArgumentException.With.Message.Contains("2×8 are 16 values, not 15"));
        Assert.That(() => backend.Multiply(layer, new float[16], 2, new float[13]), Throws.ArgumentException.With.Message.Contains("2×6 are 12 values, not 13"));
        Assert.That(() => backend.Multiply(layer.Core, new float[8], -1, new float[6]), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => backend.Multiply(layer.InputWrapper!, new float[8], 2, new float[16]), Throws.ArgumentException);
        Assert.That(() => backend.MultiplyDense(new float[5], 2, 3, new float[3], 1, new float[2]), Throws.ArgumentException.With.Message.Contains("2×3 are 6 values, not 5"));
        Assert.That(() => backend.MultiplyDense([], 0, 3, new float[3], 1, []), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void AnOutputOverWhatIsReadIsRefused()
    {
        var buffer = new float[24];
        var matrix = BlockDiagonalMatrix.Identity(2, 4);
        Assert.That(() => backend.Multiply(matrix, buffer.AsSpan(0, 8), 1, buffer.AsSpan(7, 8)), Throws.ArgumentException.With.Message.Contains("overlaps the input"));
        Assert.That(() => backend.MultiplyDense(buffer.AsSpan(0, 16), 4, 4, new float[4], 1, buffer.AsSpan(12, 4)), Throws.ArgumentException.With.Message.Contains("overlaps the weight"));
        Assert.That(() => backend.Multiply(matrix, buffer.AsSpan(0, 8), 1, buffer.AsSpan(8, 8)), Throws.Nothing);
    }

    [TestCase(KernelOperation.Dense, 3, 5, 1, 1, true)]
    [TestCase(KernelOperation.BlockDiagonal, 6, 6, 1, 3, true)]
    [TestCase(KernelOperation.BlockDiagonal, 6, 6, 1, 4, false)]
    [TestCase(KernelOperation.BlockDiagonal, 6, 9, 1, 3, false)]
    [TestCase(KernelOperation.SparseCore, 3, 8, 1, 1, true)]
    [TestCase(KernelOperation.SparseCore, 3, 6, 1, 1, false)]
    [TestCase(KernelOperation.Armor, 6, 8, 3, 4, true)]
    [TestCase(KernelOperation.Armor, 6, 8, 4, 4, false)]
    [TestCase((KernelOperation)99, 4, 4, 1, 1, false)]
    public void SupportHasAReason(KernelOperation operation, int rows, int columns, int outputBlock, int inputBlock, bool expected)
    {
        var support = backend.Supports(operation, new KernelShape(rows, columns, 2, outputBlock, inputBlock), TensorElementType.Float32);
        Assert.That(support.IsSupported, Is.EqualTo(expected));
        Assert.That(support.Reason, expected ? Is.Null : Is.Not.Empty);
    }

    [Test]
    public void SupportGoesByThePattern()
    {
        var shape = new KernelShape(4, 12, 1, Pattern: new SparsityPattern(4, 8));
        Assert.That(backend.Supports(KernelOperation.SparseCore, shape, TensorElementType.Float32).Reason, Does.Contain("4:8").And.Contain("12"));
        Assert.That(backend.Supports(KernelOperation.Armor, shape with { Columns = 16 }, TensorElementType.Float32).IsSupported, Is.True);
    }

    [Test]
    public void OtherTypesAreNotSupported()
        => Assert.That(
            backend.Supports(KernelOperation.Dense, new KernelShape(4, 4, 1), TensorElementType.BFloat16).Reason,
            Does.Contain("Float32").And.Contain("BFloat16"));

    private void Check(double[,] weight, int batch, Random random, Multiplication multiply)
    {
        var (rows, columns) = (weight.GetLength(0), weight.GetLength(1));

        // Odd offsets: neither side may rely on alignment.
        var input = Generators.Values(random, (batch * columns) + 1).AsSpan(1);
        var buffer = new float[(batch * rows) + (2 * Guard)];
        Array.Fill(buffer, Sentinel);
        var output = buffer.AsSpan(Guard, batch * rows);
        output.Fill(float.NaN);
        multiply(input, output);

        double error = 0, norm = 0;
        for (var item = 0; item < batch; item++)
        {
            for (var row = 0; row < rows; row++)
            {
                double expected = 0;
                for (var column = 0; column < columns; column++)
                {
                    var term = weight[row, column] * input[(item * columns) + column];
                    expected += term;

                    // Beside the square of the sum: a sum may cancel to nearly nothing.
                    norm += term * term;
                }

                norm += expected * expected;
                error += Math.Pow(output[(item * rows) + row] - expected, 2);
            }
        }

        Assert.That(error, Is.LessThanOrEqualTo(tolerance * norm), $"normalised mean square error {error / norm}");
        Assert.That(buffer[..Guard].Concat(buffer[^Guard..]), Has.All.EqualTo(Sentinel), "guard bands");
    }

    private delegate void Multiplication(ReadOnlySpan<float> input, Span<float> output);
}

[TestFixture]
public class ReferenceBackendTests() : KernelConformanceTests(new ReferenceBackend(), 1e-14);

[TestFixture]
public class SimdBackendTests() : KernelConformanceTests(new SimdBackend(), 1e-11)
{
    [Test]
    public void EveryVectorWidthPicksTheSameValues([Range(4, 68, 4)] int columns)
    {
        // Small integers: every order of summation is exact.
        var random = new Random(columns);
        var core = Generators.RandomCore(1, columns, random);
        var values = Enumerable.Range(0, columns / 2).Select(_ => (float)random.Next(-8, 9)).ToArray();
        var input = Enumerable.Range(0, columns).Select(_ => (float)random.Next(-8, 9)).ToArray();
        var expected = SparseDotProduct.ComputeScalar(values, core.Mask.Span, input, 0, 0);
        Assert.That(SparseDotProduct.ComputeAny256(values, core.Mask.Span, input), Is.EqualTo(expected));
        Assert.That(SparseDotProduct.ComputeFours256(values, core.Mask.Span, input), Is.EqualTo(expected));
        Assert.That(SparseDotProduct.ComputeTwoFour128(values, core.Mask.Span, input), Is.EqualTo(expected));
        Assert.That(SparseDotProduct.Compute(core.Pattern, values, core.Mask.Span, input), Is.EqualTo(expected));
    }
}
