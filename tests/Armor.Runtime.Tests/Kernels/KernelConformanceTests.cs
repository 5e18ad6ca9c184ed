using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Tests.Factorization;
using CsCheck;

namespace Armor.Runtime.Tests.Kernels;

/// <summary>What every backend must do, against dense float64 products: run over each backend by a class of one line.</summary>
/// <param name="backend">Disposed of after the tests.</param>
/// <param name="tolerance">The largest normalised mean square error, of float32 accumulation for example.</param>
public abstract class KernelConformanceTests(IKernelBackend backend, double tolerance)
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
        CheckDense(9, 1100, batch, type);
        CheckLayer(Generators.RandomLayer(70, 2100, null, null, 1), batch, type);
    }

    [Test]
    public void SparseOfEveryWidth([Values(4, 8, 12, 28, 36, 60, 64, 68, 132)] int columns, [ValueSource(nameof(Types))] TensorElementType type)
    {
        foreach (var (rows, batch) in new[] { (1, 1), (3, 2), (17, 5) })
        {
            CheckLayer(Generators.RandomLayer(rows, columns, null, null, columns), batch, type);
        }
    }

    [Test]
    public void SparseOfManyTilesAndBatches(
        [Values(7, 139)] int rows, [Values(252, 1100)] int columns, [Values(1, 3, 9)] int batch, [ValueSource(nameof(Types))] TensorElementType type)
        => CheckLayer(Generators.RandomLayer(rows, columns, null, null, rows), batch, type);

    [Test]
    public void SparseOfEveryPattern(
        [ValueSource(typeof(Generators), nameof(Generators.Patterns))] SparsityPattern pattern, [Values(1, 2, 7)] int groups, [ValueSource(nameof(Types))] TensorElementType type)
        => CheckLayer(Generators.RandomLayer(3, groups * pattern.Group, null, null, groups, pattern), 2, type);

    [Test]
    public void WrappersOfEveryBlock([Values(1, 2, 3, 5, 16, 17, 31, 64, 65)] int block, [Values(1, 3)] int count, [ValueSource(nameof(Types))] TensorElementType type)
    {
        CheckLayer(Generators.RandomLayer(count * block, 4, block, null, block), 3, type);
        CheckLayer(Generators.RandomLayer(5, 4 * count * block, null, block, block), 3, type);
        CheckLayer(Generators.RandomLayer(5, 4 * count * block, null, 4 * block, block), 1, type);
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
            foreach (var batch in new[] { 1, 4, 7 })
            {
                CheckLayer(layer, batch, type);
            }
        }
    }

    [Test]
    public void AnyLayer()
        => Gen.Select(Generators.Layer, Gen.Int[1, 6], Gen.Int[0, Types.Length - 1]).Sample((layer, batch, type) => CheckLayer(layer, batch, Types[type]), iter: 30);

    [Test]
    public void AResultDoesNotDependOnTheBatch([ValueSource(nameof(Types))] TensorElementType type, [Values(44, 1100)] int columns)
    {
        using var layer = backend.PrepareLayer(Generators.RandomLayer(24, columns, 6, 11, 3), type);
        using var dense = backend.PrepareDense(Dense(24, columns, out _), type);
        foreach (var batch in new[] { 2, 3, 5, 70 })
        {
            CheckRowsAlone(layer, batch);
            CheckRowsAlone(dense, batch);
        }
    }

    [Test]
    public void SeveralCallersAtOnceGetTheirOwnResults([ValueSource(nameof(Types))] TensorElementType type)
    {
        using var weight = backend.PrepareLayer(Generators.RandomLayer(192, 256, 16, 32, 3), type);
        var inputs = Enumerable.Range(0, 4).Select(seed => Generators.Values(new Random(seed), (seed + 1) * 256)).ToArray();
        var expected = inputs.Select((input, i) => Product(weight, input, i + 1)).ToArray();
        Parallel.For(0, 60, round => Assert.That(Product(weight, inputs[round % 4], (round % 4) + 1), Is.EqualTo(expected[round % 4])));

        static float[] Product(KernelWeight weight, float[] input, int batch)
        {
            var output = new float[batch * weight.Rows];
            weight.Multiply(input, batch, output);
            return output;
        }
    }

    [Test]
    public void RowsOfADenseWeightCanBeRead([ValueSource(nameof(Types))] TensorElementType type)
    {
        using var weight = backend.PrepareDense(Dense(70, 37, out var values), type);
        var expected = FloatConversion.Rounded(type, values);
        var row = new float[37];
        for (var i = 0; i < 70; i++)
        {
            weight.CopyRow(i, row);
            Assert.That(row, Is.EqualTo(expected[(i * 37)..((i + 1) * 37)]));
        }

        Assert.That(() => weight.CopyRow(70, row), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => weight.CopyRow(0, new float[36]), Throws.ArgumentException);
        using var layer = backend.PrepareLayer(Generators.RandomLayer(6, 8, 3, 4, 1), type);
        Assert.That(() => layer.CopyRow(0, new float[8]), Throws.TypeOf<NotSupportedException>());
    }

    [Test]
    public void AWeightSaysWhatItIs([ValueSource(nameof(Types))] TensorElementType type)
    {
        using var dense = backend.PrepareDense(Dense(70, 37, out _), type);
        Assert.That((dense.Operation, dense.Rows, dense.Columns, dense.ElementType), Is.EqualTo((KernelOperation.Dense, 70, 37, type)));
        Assert.That(dense.Bytes, Is.GreaterThanOrEqualTo(70 * 37 * type.ByteSize()));
        using var core = backend.PrepareLayer(Generators.RandomLayer(6, 8, null, null, 1), type);
        Assert.That((core.Operation, core.Rows, core.Columns, core.ElementType), Is.EqualTo((KernelOperation.SparseCore, 6, 8, type)));
        using var layer = backend.PrepareLayer(Generators.RandomLayer(6, 8, 3, null, 1), type);
        Assert.That(layer.Operation, Is.EqualTo(KernelOperation.Armor));
    }

    [Test]
    public void WrongLengthsAreRefused()
    {
        using var layer = backend.PrepareLayer(Generators.RandomLayer(6, 8, 3, 4, 1), TensorElementType.Float32);
        Assert.That(() => layer.Multiply(new float[15], 2, new float[12]), Throws.ArgumentException.With.Message.Contains("2×8 are 16 values, not 15"));
        Assert.That(() => layer.Multiply(new float[16], 2, new float[13]), Throws.ArgumentException.With.Message.Contains("2×6 are 12 values, not 13"));
        Assert.That(() => layer.Multiply(new float[8], -1, new float[6]), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => layer.Multiply([], 0, []), Throws.Nothing);
        Assert.That(() => DenseWeightSource.FromMemory(new float[5], 2, 3), Throws.ArgumentException.With.Message.Contains("2×3 are 6 values, not 5"));
        Assert.That(() => DenseWeightSource.FromMemory(ReadOnlyMemory<float>.Empty, 0, 3), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void AnOutputOverTheInputIsRefused()
    {
        var buffer = new float[24];
        using var weight = backend.PrepareLayer(Generators.RandomLayer(8, 8, 4, 4, 1), TensorElementType.Float32);
        Assert.That(() => weight.Multiply(buffer.AsSpan(0, 8), 1, buffer.AsSpan(7, 8)), Throws.ArgumentException.With.Message.Contains("overlaps the input"));
        Assert.That(() => weight.Multiply(buffer.AsSpan(0, 8), 1, buffer.AsSpan(8, 8)), Throws.Nothing);
    }

    [Test]
    public void ADisposedWeightIsRefusedAndMayBeDisposedOfAgain()
    {
        var weight = backend.PrepareDense(Dense(3, 5, out _), TensorElementType.Float32);
        weight.Dispose();
        weight.Dispose();
        Assert.That(() => weight.Multiply(new float[5], 1, new float[3]), Throws.TypeOf<ObjectDisposedException>());
        Assert.That(() => weight.CopyRow(0, new float[5]), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void DisposalWaitsForProductsUnderWay()
    {
        var input = Generators.Values(new Random(1), 512);
        for (var round = 0; round < 4; round++)
        {
            var weight = backend.PrepareDense(Dense(64, 512, out _), TensorElementType.Float32);
            var expected = new float[64];
            weight.Multiply(input, 1, expected);
            using var started = new ManualResetEventSlim();
            var products = Task.Run(() =>
            {
                var output = new float[64];
                try
                {
                    while (true)
                    {
                        weight.Multiply(input, 1, output);
                        Assert.That(output, Is.EqualTo(expected));
                        started.Set();
                    }
                }
                catch (ObjectDisposedException)
                {
                }
            });
            Assert.That(started.Wait(TimeSpan.FromSeconds(30)), Is.True);
            weight.Dispose();
            Assert.That(() => products.Wait(TimeSpan.FromSeconds(30)), Is.True);
        }
    }

    [Test]
    public void PackingCanBeCancelled()
    {
        using var source = new CancellationTokenSource();
        source.Cancel();
        Assert.That(() => backend.PrepareDense(Dense(3, 5, out _), TensorElementType.Float32, source.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => backend.PrepareLayer(Generators.RandomLayer(6, 8, 3, 4, 1), TensorElementType.Float32, source.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void WhatASourceThrowsIsThrown()
        => Assert.That(() => backend.PrepareDense(new Broken(), TensorElementType.Float32), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo("broken"));

    [TestCase(KernelOperation.Dense, 3, 5, 1, 1, true)]
    [TestCase(KernelOperation.Dense, 0, 5, 1, 1, false)]
    [TestCase(KernelOperation.SparseCore, 3, 8, 1, 1, true)]
    [TestCase(KernelOperation.SparseCore, 3, 6, 1, 1, false)]
    [TestCase(KernelOperation.Armor, 6, 8, 3, 4, true)]
    [TestCase(KernelOperation.Armor, 6, 8, 4, 4, false)]
    [TestCase(KernelOperation.Armor, 6, 8, 3, 3, false)]
    [TestCase((KernelOperation)99, 4, 4, 1, 1, false)]
    public void SupportHasAReason(KernelOperation operation, int rows, int columns, int outputBlock, int inputBlock, bool expected)
    {
        var support = backend.Supports(operation, new KernelShape(rows, columns, outputBlock, inputBlock), TensorElementType.Float32);
        Assert.That(support.IsSupported, Is.EqualTo(expected));
        Assert.That(support.Reason, expected ? Is.Null : Is.Not.Empty);
    }

    [Test]
    public void SupportGoesByThePattern()
    {
        var shape = new KernelShape(4, 12, Pattern: new SparsityPattern(4, 8));
        Assert.That(backend.Supports(KernelOperation.SparseCore, shape, TensorElementType.Float32).Reason, Does.Contain("4:8").And.Contain("12"));
        Assert.That(backend.Supports(KernelOperation.Armor, shape with { Columns = 16 }, TensorElementType.Float32).IsSupported, Is.True);
    }

    [Test]
    public void OtherTypesAreNotSupported()
    {
        Assert.That(backend.Supports(KernelOperation.Dense, new KernelShape(4, 4), TensorElementType.Float64).Reason, Does.Contain("Float32").And.Contain("Float64"));
        Assert.That(() => backend.PrepareDense(Dense(3, 5, out _), TensorElementType.Float64), Throws.TypeOf<NotSupportedException>());
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

    private void CheckLayer(ArmorLayer layer, int batch, TensorElementType type)
    {
        using var weight = backend.PrepareLayer(layer, type);
        CheckProduct(Generators.Dense(layer.RoundedTo(type)), batch, weight, tolerance);
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
    protected static void CheckProduct(double[,] dense, int batch, KernelWeight weight, double tolerance)
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
                double expected = 0;
                for (var column = 0; column < x.Length; column++)
                {
                    var term = coefficients[column] * x[column];
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

    private sealed class Broken() : DenseWeightSource(3, 5)
    {
        protected override void ReadRows(int firstRow, Span<float> destination) => throw new InvalidDataException("broken");
    }
}

[TestFixture]
public class ReferenceBackendTests() : KernelConformanceTests(new ReferenceBackend(), 1e-14);
