using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using CsCheck;

namespace Armor.KernelConformance;

/// <summary>What every backend must do, against dense float64 products: run over each backend by a class of one line.</summary>
/// <param name="backend">Disposed of after the tests.</param>
/// <param name="tolerance">The largest normalised mean square error, of float32 accumulation for example.</param>
/// <param name="int8Tolerance">The same of products by values in 8 bits, where inputs may be rounded for them; that of the others where left out.</param>
public abstract partial class KernelConformanceTests(IKernelBackend backend, double tolerance, double? int8Tolerance = null)
{
    private static readonly TensorElementType[] Types = [TensorElementType.Float32, TensorElementType.BFloat16, TensorElementType.Float16];

    private const int Guard = 19;
    private const float Sentinel = -12345.678f;

    [OneTimeTearDown]
    public void DisposeOfBackend() => backend.Dispose();

    [Test]
    public void DenseOfEveryWidth([Values(1, 2, 7, 15, 16, 17, 31, 33, 63, 65)] int columns, [ValueSource(nameof(Types))] TensorElementType type)
    {
        foreach (var (rows, batch) in new[] { (1, 1), (3, 2), (17, 5) })
        {
            CheckDense(rows, columns, batch, type);
        }
    }

    [Test]
    public void DenseOfManyTilesAndBatches(
        [Values(1, 130)] int rows, [Values(255, 1100)] int columns, [Values(1, 3, 9)] int batch, [ValueSource(nameof(Types))] TensorElementType type)
        => CheckDense(rows, columns, batch, type);

    [Test]
    public void LargeBatches([Values(17, 70)] int batch, [ValueSource(nameof(Types))] TensorElementType type)
    {
        // Beyond what the caches of a block of inputs, of steps and of tiles are thought to hold.
        CheckDense(9, 2100, batch, type);
        CheckLayer(Generators.RandomLayer(70, 2100, null, null, 1), type, batch);
    }

    [Test]
    public void SparseOfEveryWidth([Values(4, 8, 12, 28, 36, 60, 64, 68, 132)] int columns, [ValueSource(nameof(Types))] TensorElementType type)
    {
        foreach (var (rows, batch) in new[] { (1, 1), (3, 2), (17, 5) })
        {
            CheckLayer(Generators.RandomLayer(rows, columns, null, null, columns), type, batch);
        }
    }

    [Test]
    public void SparseOfManyTilesAndBatches(
        [Values(7, 139)] int rows, [Values(252, 1100)] int columns, [Values(1, 3, 9)] int batch, [ValueSource(nameof(Types))] TensorElementType type)
        => CheckLayer(Generators.RandomLayer(rows, columns, null, null, rows), type, batch);

    [Test]
    public void SparseOfEveryPattern(
        [ValueSource(typeof(Generators), nameof(Generators.Patterns))] SparsityPattern pattern, [Values(1, 2, 7)] int groups, [ValueSource(nameof(Types))] TensorElementType type)
        => CheckLayer(Generators.RandomLayer(3, groups * pattern.Group, null, null, groups, pattern), type, 2);

    [Test]
    public void WrappersOfEveryBlock([Values(1, 2, 3, 5, 16, 17, 31, 64, 65)] int block, [Values(1, 3)] int count, [ValueSource(nameof(Types))] TensorElementType type)
    {
        CheckLayer(Generators.RandomLayer(count * block, 4, block, null, block), type, 3);
        CheckLayer(Generators.RandomLayer(5, 4 * count * block, null, block, block), type, 3);
        CheckLayer(Generators.RandomLayer(5, 4 * count * block, null, 4 * block, block), type, 1);
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
    [TestCase(256, 768, 128, 128)]
    public void LayersOfRealAndAwkwardShapes(int rows, int columns, int? outputBlock, int? inputBlock)
    {
        var layer = Generators.RandomLayer(rows, columns, outputBlock, inputBlock, 5);
        foreach (var type in Types)
        {
            CheckLayer(layer, type, 1, 4, 7);
        }
    }

    [Test]
    public void AnyLayer()
        => Gen.Select(Generators.Layer, Gen.Int[1, 6], Gen.Int[0, Types.Length - 1]).Sample((layer, batch, type) => CheckBound(layer, Types[type], batch), iter: 30);

    [Test]
    public void AResultDoesNotDependOnTheBatch([ValueSource(nameof(Types))] TensorElementType type, [Values(44, 2112)] int columns)
    {
        using var layer = backend.PrepareLayer(Generators.RandomLayer(24, columns, 6, 11, 3), type);
        using var dense = backend.PrepareDense(Dense(24, columns, out _), type);
        foreach (var batch in new[] { 2, 3, 5, 70 })
        {
            CheckRowsAlone(layer, batch);
            CheckRowsAlone(dense, batch);
        }
    }

    private static DenseWeightSource Dense(int rows, int columns, out float[] values)
    {
        values = Generators.Values(new Random(rows + columns), rows * columns);
        return DenseWeightSource.FromMemory(values, rows, columns);
    }

    private void CheckDense(int rows, int columns, int batch, TensorElementType type)
    {
        using var weight = backend.PrepareDense(Dense(rows, columns, out var values), type);
        var rounded = FloatConversion.Rounded(type, values);
        var dense = new double[rows, columns];
        for (var i = 0; i < rounded.Length; i++)
        {
            dense[i / columns, i % columns] = rounded[i];
        }

        CheckProduct(dense, batch, weight, tolerance);
    }

    private void CheckLayer(ArmorLayer layer, TensorElementType type, params ReadOnlySpan<int> batches)
    {
        using var weight = backend.PrepareLayer(layer, type);
        var dense = Generators.Dense(layer.RoundedTo(type));
        foreach (var batch in batches)
        {
            CheckProduct(dense, batch, weight, tolerance);
        }
    }

    /// <summary>
    /// A layer of any size, down to one row. The roundings of a few terms do not average out, so the mean error says nothing here; what holds is the bound of
    /// Higham's Accuracy and Stability of Numerical Algorithms, section 3.5: each of at most three roundings by its unit u of |A|·|S|·|B|·|x|. (3u)² is 24 times
    /// the mean that two roundings by u leave in a long sum, half of it terms.
    /// </summary>
    private void CheckBound(ArmorLayer layer, TensorElementType type, int batch)
    {
        using var weight = backend.PrepareLayer(layer, type);
        var rounded = layer.RoundedTo(type);
        CheckProduct(Generators.Dense(rounded), batch, weight, 24 * tolerance, Generators.Dense(Generators.Absolute(rounded)));
    }

    /// <summary>Every input of a batch gives what it gives alone.</summary>
    protected static void CheckRowsAlone(KernelWeight weight, int batch)
    {
        var (rows, columns) = (weight.Rows, weight.Columns);
        var input = Generators.Values(new Random(4), batch * columns);
        var together = new float[batch * rows];
        var alone = new float[rows];
        weight.Multiply(input, batch, together);
        for (var item = 0; item < batch; item++)
        {
            weight.Multiply(input.AsSpan(item * columns, columns), 1, alone);
            Assert.That(alone, Is.EqualTo(together[(item * rows)..((item + 1) * rows)]), $"{weight.Operation}, input {item} of {batch}");
        }
    }

    /// <summary>Compares products with float64 ones, between guard bands.</summary>
    /// <param name="magnitudes">If given, what errors are measured by: the weight of absolute factors instead of the weight itself.</param>
    protected static void CheckProduct(double[,] dense, int batch, KernelWeight weight, double tolerance, double[,]? magnitudes = null)
    {
        var (rows, columns) = (dense.GetLength(0), dense.GetLength(1));

        // Odd offsets: neither side may rely on alignment.
        var input = Generators.Values(new Random(batch), (batch * columns) + 1).AsSpan(1);
        var buffer = new float[(batch * rows) + (2 * Guard)];
        Array.Fill(buffer, Sentinel);
        var output = buffer.AsSpan(Guard, batch * rows);
        output.Fill(float.NaN);
        weight.Multiply(input, batch, output);

        double error = 0, norm = 0;
        for (var row = 0; row < rows; row++)
        {
            var coefficients = MemoryMarshal.CreateReadOnlySpan(ref dense[row, 0], columns);
            for (var item = 0; item < batch; item++)
            {
                var x = input.Slice(item * columns, columns);
                double expected = 0, magnitude = 0, squares = 0;
                for (var column = 0; column < x.Length; column++)
                {
                    var term = coefficients[column] * x[column];
                    expected += term;
                    magnitude += (magnitudes?[row, column] ?? 0) * Math.Abs(x[column]);
                    squares += term * term;
                }

                // Beside the square of the sum: a sum may cancel to nearly nothing.
                norm += magnitudes is null ? (expected * expected) + squares : magnitude * magnitude;
                error += Math.Pow(output[(item * rows) + row] - expected, 2);
            }
        }

        Assert.That(error, Is.LessThanOrEqualTo(tolerance * norm), $"normalised mean square error {error / norm}");
        Assert.That(buffer[..Guard].Concat(buffer[^Guard..]), Has.All.EqualTo(Sentinel), "guard bands");
    }
}
