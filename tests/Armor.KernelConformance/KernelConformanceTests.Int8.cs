using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.KernelConformance;

/// <content>Values in 8 bits: cores that are quantised, dense weights and wrappers where the backend holds them so.</content>
public abstract partial class KernelConformanceTests
{
    private const int GroupColumns = 256;

    [Test]
    public void QuantisedCoresOfEveryWidth([Values(4, 12, 64, 252, 256, 260, 516, 1100)] int columns, [ValueSource(nameof(Types))] TensorElementType type)
        => CheckQuantised(Generators.RandomLayer(17, columns, null, null, columns), type, 1, 2, 3, 4, 9);

    [TestCase(1, 4, null, null, 1)]
    [TestCase(3, 64, 3, 8, 17)]
    [TestCase(139, 516, null, 12, 2)]
    [TestCase(48, 260, 6, null, 17)]
    [TestCase(160, 512, 32, 64, 5)]
    [TestCase(70, 2100, null, null, 66)]
    public void QuantisedLayers(int rows, int columns, int? outputBlock, int? inputBlock, int batch)
    {
        foreach (var type in Types)
        {
            CheckQuantised(Generators.RandomLayer(rows, columns, outputBlock, inputBlock, 4), type, batch);
        }
    }

    /// <summary>The whole numbers and their scales are exact, whatever the type of the wrappers.</summary>
    [Test]
    public void QuantisedCoresOfEveryPattern(
        [ValueSource(typeof(Generators), nameof(Generators.Patterns))] SparsityPattern pattern, [ValueSource(nameof(Types))] TensorElementType type)
        => CheckQuantised(Generators.RandomLayer(6, 33 * pattern.Group, 3, pattern.Group, 2, pattern), type, 3);

    [Test]
    public void DenseInt8OfEveryWidth([Values(1, 2, 7, 15, 16, 17, 31, 33, 63, 65, 255, 256, 257, 511, 513, 1100)] int columns)
    {
        foreach (var rows in new[] { 1, 3, 17 })
        {
            CheckDenseInt8(rows, columns, 1, 2, 3, 5, 9);
        }
    }

    [Test]
    public void DenseInt8OfManyTilesAndBatches([Values(5, 130)] int rows, [Values(512, 2100)] int columns) => CheckDenseInt8(rows, columns, 1, 4, 17, 70);

    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(float.NegativeInfinity)]
    public void ADenseValueThatIsNotFiniteHasNo8Bits(float bad)
    {
        RequireDenseInt8(3, 300);
        var values = Generators.Values(new Random(1), 900);
        values[600 + 41] = bad;
        Assert.That(
            () => backend.PrepareDense(DenseWeightSource.FromMemory(values, 3, 300), TensorElementType.Int8),
            Throws.ArgumentException.With.Message.Contains("Row 2, column 41").And.Message.Contains("only finite values"));
    }

    [Test]
    public void ADenseInputThatIsNotFiniteIsSeen()
    {
        RequireDenseInt8(3, 512);
        using var weight = backend.PrepareDense(Dense(3, 512, out _), TensorElementType.Int8);
        var input = Generators.Values(new Random(2), 2 * 512);
        var output = new float[6];
        foreach (var bad in new[] { float.NaN, float.PositiveInfinity, float.NegativeInfinity })
        {
            input[300] = bad;
            weight.Multiply(input, 2, output);
            Assert.That(output[..3], Has.None.Matches<float>(float.IsFinite));
            Assert.That(output[3..], Has.All.Matches<float>(float.IsFinite), "the other input");
        }
    }

    [Test]
    public void OnlyADenseWeightIsAskedForInInt8()
    {
        foreach (var operation in new[] { KernelOperation.SparseCore, KernelOperation.Armor })
        {
            Assert.That(backend.Supports(operation, new KernelShape(8, 8), TensorElementType.Int8).Reason, Does.Contain("quantised").And.Contain("wrappers"));
        }

        Assert.That(() => backend.PrepareLayer(Generators.RandomLayer(8, 8, 4, 4, 1), TensorElementType.Int8), Throws.TypeOf<NotSupportedException>());
    }

    [Test]
    public void Int8WrappersOfEveryBlock([Values(1, 2, 3, 5, 16, 17, 31, 64, 65, 127, 128, 129, 260)] int block, [Values(1, 3)] int count)
    {
        CheckInt8Wrappers(Generators.RandomLayer(count * block, 4, block, null, block), TensorElementType.Float32, 1, 2, 3, 9);
        CheckInt8Wrappers(Generators.RandomLayer(5, 4 * count * block, null, block, block), TensorElementType.BFloat16, 1, 4, 5);
    }

    [TestCase(1, 4, 1, 1, 1)]
    [TestCase(139, 516, null, 12, 17)]
    [TestCase(48, 260, 6, null, 70)]
    [TestCase(160, 512, 32, 64, 5)]
    [TestCase(256, 768, 128, 128, 33)]
    public void LayersWithInt8Wrappers(int rows, int columns, int? outputBlock, int? inputBlock, int batch)
    {
        var layer = Generators.RandomLayer(rows, columns, outputBlock, inputBlock, 6);
        foreach (var type in Types)
        {
            CheckInt8Wrappers(layer, type, 1, batch);
        }

        CheckInt8Wrappers(new ArmorLayer(layer.OutputWrapper, layer.Core.RoundedTo(TensorElementType.Int8), layer.InputWrapper), TensorElementType.BFloat16, 1, batch);
    }

    [Test]
    public void Int8WrappersOfEveryPattern([ValueSource(typeof(Generators), nameof(Generators.Patterns))] SparsityPattern pattern)
        => CheckInt8Wrappers(Generators.RandomLayer(6, 6 * pattern.Group, 3, pattern.Group, 2, pattern), TensorElementType.Float32, 1, 3);

    [TestCase(float.NaN)]
    [TestCase(float.NegativeInfinity)]
    public void AWrappersValueThatIsNotFiniteHasNo8Bits(float bad)
    {
        RequireInt8Wrappers();
        var values = Generators.Values(new Random(1), 2 * 4 * 4);
        values[(4 * 4) + (2 * 4) + 3] = bad;
        var layer = new ArmorLayer(null, Generators.RandomCore(3, 8, new Random(2)), new BlockDiagonalMatrix(2, 4, values));
        Assert.That(
            () => backend.PrepareLayer(layer, TensorElementType.Float32, TensorElementType.Int8),
            Throws.ArgumentException.With.Message.Contains("Row 6, column 7 of a wrapper").And.Message.Contains("only finite values"));
    }

    [Test]
    public void WrappersHaveNoTypeOfIntegers()
    {
        var layer = Generators.RandomLayer(8, 8, 4, 4, 1);
        Assert.That(
            () => backend.PrepareLayer(layer, TensorElementType.Float32, TensorElementType.Int32), Throws.TypeOf<NotSupportedException>().With.Message.Contains("wrappers"));
    }

    private void CheckInt8Wrappers(ArmorLayer layer, TensorElementType type, params ReadOnlySpan<int> batches)
    {
        RequireInt8Wrappers();
        using var weight = backend.PrepareLayer(layer, type, TensorElementType.Int8);
        var dense = Generators.Dense(new ArmorLayer(
            layer.OutputWrapper?.RoundedTo(TensorElementType.Int8),
            layer.Core.IsQuantised ? layer.Core : layer.Core.RoundedTo(type),
            layer.InputWrapper?.RoundedTo(TensorElementType.Int8)));
        foreach (var batch in batches)
        {
            CheckProduct(dense, batch, weight, int8Tolerance ?? tolerance);
            CheckRowsAlone(weight, batch);
        }
    }

    private void RequireInt8Wrappers()
    {
        try
        {
            backend.PrepareLayer(Generators.RandomLayer(4, 4, 4, null, 1), TensorElementType.Float32, TensorElementType.Int8).Dispose();
        }
        catch (NotSupportedException exception)
        {
            Assert.That(backend, Is.Not.InstanceOf<CpuBackend>(), "the processor does");
            Assert.Ignore(exception.Message);
        }
    }

    private void CheckQuantised(ArmorLayer layer, TensorElementType type, params ReadOnlySpan<int> batches)
    {
        var quantised = layer.RoundedTo(type, TensorElementType.Int8);
        using var weight = backend.PrepareLayer(quantised, type);
        var dense = Generators.Dense(quantised);
        foreach (var batch in batches)
        {
            CheckProduct(dense, batch, weight, int8Tolerance ?? tolerance);
            CheckRowsAlone(weight, batch);
        }
    }

    /// <summary>Against the rows as the weight holds them, which are looked at first.</summary>
    private void CheckDenseInt8(int rows, int columns, params ReadOnlySpan<int> batches)
    {
        RequireDenseInt8(rows, columns);
        using var weight = backend.PrepareDense(Dense(rows, columns, out var values), TensorElementType.Int8);
        Assert.That(weight.ElementType, Is.EqualTo(TensorElementType.Int8));
        var dense = new double[rows, columns];
        var row = new float[columns];
        for (var index = 0; index < rows; index++)
        {
            weight.CopyRow(index, row);
            CheckRounding(values.AsSpan(index * columns, columns), row);
            for (var column = 0; column < columns; column++)
            {
                dense[index, column] = row[column];
            }
        }

        foreach (var batch in batches)
        {
            CheckProduct(dense, batch, weight, int8Tolerance ?? tolerance);
            CheckRowsAlone(weight, batch);
        }
    }

    /// <summary>Group by group against the plain choice of a scale, largest / 127: no worse, and no value further off than a step.</summary>
    private static void CheckRounding(ReadOnlySpan<float> values, ReadOnlySpan<float> held)
    {
        for (var first = 0; first < values.Length; first += GroupColumns)
        {
            double error = 0, plainError = 0, largest = 0;
            var end = Math.Min(values.Length, first + GroupColumns);
            for (var i = first; i < end; i++)
            {
                largest = Math.Max(largest, Math.Abs(values[i]));
            }

            var step = largest / 127;
            for (var i = first; i < end; i++)
            {
                Assert.That(held[i], Is.EqualTo(values[i]).Within(1.02 * step));
                error += Math.Pow(values[i] - (double)held[i], 2);
                plainError += Math.Pow(values[i] - (Math.Round(values[i] / step) * step), 2);
            }

            // A scale has eight bits, and few values may happen to lie well with the plain one: a twelfth of a step squared is what they leave in the mean.
            var usual = Math.Max(plainError, (end - first) / 12.0 * step * step);
            Assert.That(error, Is.LessThanOrEqualTo((1.1 * usual) + (0.3 * step * step)), $"columns {first} to {end - 1}");
        }
    }

    private void RequireDenseInt8(int rows, int columns)
    {
        if (backend.Supports(KernelOperation.Dense, new KernelShape(rows, columns), TensorElementType.Int8).Reason is { } reason)
        {
            Assert.That(backend, Is.Not.InstanceOf<CpuBackend>(), "the processor does");
            Assert.Ignore(reason);
        }
    }
}
