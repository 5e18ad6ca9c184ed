using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.KernelConformance;

/// <content>What a backend promises beside right products: callers, disposal, cancellation, errors.</content>
public abstract partial class KernelConformanceTests
{
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
        Assert.That(() => backend.PrepareDense(Dense(3, 5, out _), TensorElementType.Float32, cancellationToken: source.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => backend.PrepareLayer(Generators.RandomLayer(6, 8, 3, 4, 1), TensorElementType.Float32, cancellationToken: source.Token), Throws.InstanceOf<OperationCanceledException>());
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
    public void ALayersMemoryMayBeUsedAgainOnceItIsPrepared([Values] bool isTwoFour, [Values(TensorElementType.Float32, TensorElementType.BFloat16)] TensorElementType type)
    {
        var layer = Generators.RandomLayer(12, 24, 4, 8, 1, isTwoFour ? default : new SparsityPattern(4, 8));
        using var weight = backend.PrepareLayer(layer, type);
        var input = Generators.Values(new Random(2), 24);
        var before = new float[12];
        weight.Multiply(input, 1, before);
        foreach (var values in new[] { layer.OutputWrapper!.Values, layer.Core.Values, layer.InputWrapper!.Values })
        {
            Clear(values);
        }

        Clear(layer.Core.Mask);
        var after = new float[12];
        weight.Multiply(input, 1, after);
        Assert.That(after, Is.EqualTo(before));

        static void Clear<T>(ReadOnlyMemory<T> memory)
        {
            Assert.That(MemoryMarshal.TryGetArray(memory, out var array), Is.True);
            array.AsSpan().Clear();
        }
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

    private sealed class Broken() : DenseWeightSource(3, 5)
    {
        protected override void ReadRows(int firstRow, Span<float> destination) => throw new InvalidDataException("broken");
    }
}
