using Armor.Cuda.Kernels;
using Armor.Cuda.Tests.Emulation;
using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Tests;

/// <summary>Weights that read the same input are multiplied by in the same launches where they can be, and give what they give alone.</summary>
internal class ProductGroupTests
{
    private static readonly (int Rows, int? OutputBlock)[] Alike = [(160, 32), (32, 32), (288, 32)];

    [Test]
    public void ThreeWeightsTogetherGiveWhatTheyGiveAlone([Values(1, 3, 9, 17, 70, 130)] int batch, [Values(null, 64)] int? inputBlock)
    {
        using var card = new Card();
        var launches = card.Compare(batch, [.. Alike.Select((shape, i) => Generators.RandomLayer(shape.Rows, 640, shape.OutputBlock, inputBlock, i + 1))]);
        var input = inputBlock is null ? "armor_arrange_bf16" : "armor_input_bf16";
        string[] products = batch switch { 70 => ["armor_sparse_bf16_16", "armor_sparse_bf16_8"], 130 => ["armor_sparse_bf16_64"], _ => [$"armor_sparse_bf16_{(batch <= 8 ? 8 : 16)}"] };
        Assert.That(launches, Is.EqualTo(products.SelectMany(product => new[] { input, product })));
    }

    [Test]
    public void TwoDenseWeightsShareTheirInput()
    {
        using var card = new Card();
        var launches = card.Compare(2, card.Dense(48, 300), card.Dense(200, 300));
        Assert.That(launches, Is.EqualTo(new[] { "armor_arrange_bf16", "armor_dense_bf16_8" }));
    }

    [Test]
    public void QuantisedCoresGoTogether()
    {
        using var card = new Card();
        var launches = card.Compare(1, [.. Alike.Select((shape, i) => Generators.RandomLayer(shape.Rows, 512, 16, 16, i).RoundedTo(TensorElementType.BFloat16, TensorElementType.Int8))]);
        Assert.That(launches, Is.EqualTo(new[] { "armor_input_bf16", "armor_int8_bf16_8" }));
    }

    [Test]
    public void WeightsOfDifferentKindsGoOneAfterAnother()
    {
        using var card = new Card();
        Assert.That(card.Compare(1, card.Layer(64, 256, 16, 16), card.Layer(64, 256, 32, 16)), Has.Count.EqualTo(4), "blocks of A");
        Assert.That(card.Compare(1, card.Layer(64, 256, 16, 16), card.Layer(64, 256, 16, 64)), Has.Count.EqualTo(4), "blocks of B");
        Assert.That(card.Compare(1, card.Layer(64, 256, 16, null), card.Layer(64, 256, 16, 16)), Has.Count.EqualTo(4), "one without B");
        Assert.That(card.Compare(1, card.Layer(64, 256, null, null), card.Dense(64, 256)), Has.Count.EqualTo(4), "a dense one");
        Assert.That(card.Compare(1, card.Layer(64, 256, 4, 16), card.Layer(64, 256, 4, 16)), Has.Count.EqualTo(6), "blocks that no fragment fits");
    }

    /// <summary>An emulated card.</summary>
    private sealed class Card : IDisposable
    {
        private readonly EmulatedDriver _driver;
        private readonly CudaBackend _backend;

        public Card()
        {
            if (HostCompiler.Missing is { } reason)
            {
                Assert.Ignore(reason);
            }

            _driver = new EmulatedDriver();
            _backend = new CudaBackend(_driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null });
        }

        public KernelWeight Dense(int rows, int columns) => _backend.PrepareDense(
            DenseWeightSource.FromMemory(Generators.Values(new Random(rows), rows * columns), rows, columns), TensorElementType.BFloat16);

        public KernelWeight Layer(int rows, int columns, int? outputBlock, int? inputBlock)
            => _backend.PrepareLayer(Generators.RandomLayer(rows, columns, outputBlock, inputBlock, rows + columns), TensorElementType.BFloat16);

        public IReadOnlyList<string> Compare(int batch, params ArmorLayer[] layers)
            => Compare(batch, [.. layers.Select(layer => _backend.PrepareLayer(layer, TensorElementType.BFloat16))]);

        /// <summary>Compares each weight's results with those that it gives alone, and disposes of the weights.</summary>
        /// <returns>The kernels of the group.</returns>
        public IReadOnlyList<string> Compare(int batch, params KernelWeight[] weights)
        {
            var columns = weights[0].Columns;
            var input = Generators.Values(new Random(3), batch * columns);
            var expected = weights.Select(weight =>
            {
                var output = new float[batch * weight.Rows];
                weight.Multiply(input, batch, output);
                return output;
            }).ToArray();
            var run = _backend.Enter();
            try
            {
                var outputs = weights.Select(weight => run.Device.Allocate((long)batch * weight.Rows * sizeof(float))).ToArray();
                var before = _driver.Launches.Count;

                // The input is still where the products before have put it.
                new ProductGroup(run, [.. weights.Select(weight => ((CudaWeight)weight).Product)]).Multiply(
                    run, new ProductInput(run.Scratch(ScratchUse.Input, input.Length * sizeof(float)).Address), batch, [.. outputs.Select(output => output.Address)]);
                for (var i = 0; i < weights.Length; i++)
                {
                    var staging = run.Staging(outputs[i].Bytes);
                    outputs[i].CopyTo(staging, outputs[i].Bytes, run.Stream);
                    run.Stream.Synchronize();
                    Assert.That(staging.AsSpan<float>(expected[i].Length).ToArray(), Is.EqualTo(expected[i]).Within(1e-2).Percent.Or.EqualTo(expected[i]).Within(1e-3), $"weight {i}");
                    outputs[i].Dispose();
                }

                return _driver.Launches.Skip(before).ToList();
            }
            finally
            {
                _backend.Leave();
                Array.ForEach(weights, weight => weight.Dispose());
            }
        }

        public void Dispose()
        {
            _driver.CheckAllGuards();
            _backend.Dispose();
            Assert.That((_driver.Held, _driver.Violations), Is.EqualTo((0, new List<string>())));
            _driver.Dispose();
        }
    }
}
