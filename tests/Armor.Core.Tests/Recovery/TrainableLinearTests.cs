using Armor.Core.Recovery;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Recovery;

public class TrainableLinearTests
{
    [TestCase(6, 8, 3, 4, "2:4")]
    [TestCase(10, 24, 5, 8, "4:8")]
    [TestCase(4, 12, 2, 6, "1:4")]
    [TestCase(6, 12, null, 4, "2:4")]
    [TestCase(6, 12, 2, null, "2:4")]
    [TestCase(6, 12, null, null, "2:4")]
    public void GradientsAreThoseOfTheDenseProduct(int rows, int columns, int? output, int? input, string pattern)
    {
        ArmorLayer layer = RandomLayers.Create(rows, columns, output, input, SparsityPattern.Parse(pattern));
        using var scope = NewDisposeScope();
        using var factors = new TrainableFactors([KeyValuePair.Create("linear", layer)]);
        TrainableLinear linear = factors.Linears[0];
        Tensor x = Random(2, 5, columns);
        Tensor weights = Random(2, 5, rows);
        Tensor y = linear.Forward(x);
        (y * weights).sum().backward();

        // Written anew in float64: with G the gradient by Ŵ, that by A is G·(S·B)ᵀ, by S Aᵀ·G·Bᵀ and by B (A·S)ᵀ·G, where they have entries.
        Tensor a = Dense(layer.OutputWrapper, rows);
        Tensor b = Dense(layer.InputWrapper, columns);
        Tensor s = tensor(layer.Core.ToDense(), [rows, columns]).to(float64);
        Tensor product = a.matmul(s).matmul(b);
        Tensor x2 = x.view(-1, columns).to(float64);
        Tensor g = weights.view(-1, rows).to(float64).transpose(0, 1).matmul(x2);
        AssertClose(y.view(-1, rows), x2.matmul(product.transpose(0, 1)));
        Tensor kept = s.ne(0);
        AssertClose(linear.Core.grad!.flatten(), a.transpose(0, 1).matmul(g).matmul(b.transpose(0, 1)).masked_select(kept));
        if (linear.Output is { } blocks)
        {
            AssertClose(blocks.grad!, Blocks(g.matmul(s.matmul(b).transpose(0, 1)), output!.Value));
        }

        if (linear.Input is { } inputBlocks)
        {
            AssertClose(inputBlocks.grad!, Blocks(a.matmul(s).transpose(0, 1).matmul(g), input!.Value));
        }

        Assert.That(factors.Count, Is.EqualTo(layer.StorageBytes(TensorElementType.Float32) / 4 - (layer.Core.Mask.Length / 4)).Within(1));
    }

    [TestCase(TensorElementType.BFloat16)]
    [TestCase(TensorElementType.Int8)]
    public void StoredValuesAreJudgedAndExactOnesComeBack(TensorElementType core)
    {
        ArmorLayer layer = RandomLayers.Create(8, 16, 4, 8, SparsityPattern.TwoFour);
        using var scope = NewDisposeScope();
        using var factors = new TrainableFactors([KeyValuePair.Create("linear", layer)]);
        float[] seen = factors.AsStored(TensorElementType.BFloat16, core, () => factors.ToLayers()[0].Value.ToDense());
        Assert.That(seen, Is.EqualTo(layer.RoundedTo(TensorElementType.BFloat16, core).ToDense()));
        ArmorLayer back = factors.ToLayers()[0].Value;
        Assert.That(back.ToDense(), Is.EqualTo(layer.ToDense()));
        Assert.That(back.Core.Mask.ToArray(), Is.EqualTo(layer.Core.Mask.ToArray()));
    }

    [Test]
    public void AStepIsThatOfAdam()
    {
        ArmorLayer layer = RandomLayers.Create(4, 8, 2, 4, SparsityPattern.TwoFour);
        using var scope = NewDisposeScope();
        using var factors = new TrainableFactors([KeyValuePair.Create("linear", layer)]);
        using var optimizer = new AdamW(factors, wrapperRate: 0.5);
        double[] start = Values(factors.Values);
        double[] moved = [.. start];
        double[] first = new double[start.Length];
        double[] second = new double[start.Length];
        var random = new Random(5);
        for (int step = 1; step <= 3; step++)
        {
            double[] gradient = [.. start.Select(_ => random.NextDouble() - 0.5)];
            using (no_grad())
            {
                factors.Gradients.copy_(tensor(gradient));
            }

            double length = Math.Sqrt(gradient.Sum(g => g * g));
            Assert.That(optimizer.Step(0.01, maximumGradient: 0.2), Is.EqualTo(length).Within(1e-5));
            foreach (FactorSlice slice in factors.Slices)
            {
                double[] own = start[(int)slice.Start..(int)(slice.Start + slice.Length)];
                double scale = Math.Sqrt(own.Average(v => v * v)) * (slice.Kind == FactorKind.Core ? 1 : 0.5);
                for (int i = (int)slice.Start; i < slice.Start + slice.Length; i++)
                {
                    double g = gradient[i] * 0.2 / length;
                    first[i] = (0.9 * first[i]) + (0.1 * g);
                    second[i] = (0.99 * second[i]) + (0.01 * g * g);
                    moved[i] -= 0.01 * scale * first[i] / (1 - Math.Pow(0.9, step)) / Math.Sqrt(second[i] / (1 - Math.Pow(0.99, step)));
                }
            }
        }

        Assert.That(Values(factors.Values), Is.EqualTo(moved).Within(2e-6));
        Assert.That(Values(factors.Gradients), Is.All.Zero);
    }

    private static double[] Values(Tensor tensor) => tensor.to(float64).data<double>().ToArray();

    private static Tensor Random(params long[] shape)
    {
        var random = new Random(3);
        return tensor(Enumerable.Range(0, (int)shape.Aggregate((a, b) => a * b)).Select(_ => (float)(random.NextDouble() - 0.5)).ToArray(), shape);
    }

    private static Tensor Dense(BlockDiagonalMatrix? wrapper, int size) => wrapper is null
        ? eye(size, size, float64)
        : block_diag([.. Enumerable.Range(0, wrapper.BlockCount).Select(i => tensor(wrapper.Block(i).ToArray(), [wrapper.BlockSize, wrapper.BlockSize]).to(float64))]);

    private static Tensor Blocks(Tensor matrix, int size) =>
        stack([.. Enumerable.Range(0, (int)matrix.shape[0] / size).Select(i => matrix.narrow(0, i * size, size).narrow(1, i * size, size))]);

    private static void AssertClose(Tensor found, Tensor expected)
    {
        Assert.That(found.shape, Is.EqualTo(expected.shape));
        double error = (found.detach().to(float64) - expected).abs().max().item<double>();
        Assert.That(error, Is.LessThan(2e-6 * (1 + expected.abs().max().item<double>())));
    }
}
