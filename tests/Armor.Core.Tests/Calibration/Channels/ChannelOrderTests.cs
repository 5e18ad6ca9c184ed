using Armor.Core.Calibration.Channels;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Calibration.Channels;

public sealed class ChannelOrderTests
{
    private TorchSharp.DisposeScope scope = null!;

    [SetUp]
    public void OpenScope() => scope = NewDisposeScope();

    [TearDown]
    public void CloseScope() => scope.Dispose();

    [Test]
    public void SimilaritiesAreTheSquaredCosinesToTheLastBit([Values(1, 7, 64, 256)] int strip)
    {
        (Tensor gate, Tensor up, Tensor down) = Weights(channels: 75, hidden: 203, seed: 3);
        gate[5].zero_();
        up[6].mul_(1e30f.ToScalar());
        down.narrow(1, 7, 1).mul_(1e-28f.ToScalar());
        using ChannelSimilarity similarity = ChannelSimilarity.Measure(gate, up, down, CancellationToken.None, strip);
        double[][][] vectors = [Rows(gate), Rows(up), Rows(down.t())];
        for (int a = 0; a < 75; a++)
        {
            double strength = vectors.Aggregate(1.0, (product, rows) => product * Math.Sqrt(rows[a].Sum(value => value * value)));
            Assert.That(similarity.Strengths[a], Is.EqualTo(strength).Within(1e-12 * strength));
            for (int b = 0; b < 75; b++)
            {
                Assert.That(similarity.Of(a)[b], Is.EqualTo(vectors.Sum(rows => Expected(rows[a], rows[b]))), $"{a}, {b}");
                double exact = vectors.Sum(rows => Math.Pow(Cosine(rows[a], rows[b]), 2));
                Assert.That(similarity.Of(a)[b] / 8192.0, Is.EqualTo(exact).Within(0.02), $"{a}, {b}");
            }
        }

        // In whole numbers, which no order of summation changes.
        static int Expected(double[] a, double[] b)
        {
            float cosine = (float)(Rounded(a).Zip(Rounded(b), (x, y) => x * y).Sum() / (double)(1 << 22));
            return (int)Math.Round(cosine * cosine * 8192);
        }

        static IEnumerable<long> Rounded(double[] vector)
        {
            float factor = Norm(vector) == 0 ? 0 : (float)(2048 / Norm(vector));
            return vector.Select(value => (long)MathF.Round((float)value * factor));
        }
    }

    [Test]
    public void TheOrderIsAPermutationThatNumberOfThreadsAndScaleDoNotChange([Values(1, 2)] int threads)
    {
        (Tensor gate, Tensor up, Tensor down) = Weights(channels: 300, hidden: 256, seed: 4);
        int before = get_num_threads();
        long[] order;
        try
        {
            set_num_threads(threads);
            order = ChannelOrder.Find(gate, up, down, 8, CancellationToken.None);
        }
        finally
        {
            set_num_threads(before);
        }

        Assert.That(order.Order(), Is.EqualTo(Enumerable.Range(0, 300)));
        Assert.That(ChannelOrder.Find(gate * 4f, up, down * 0.5f, 8, CancellationToken.None), Is.EqualTo(order));
        using ChannelSimilarity similarity = ChannelSimilarity.Measure(gate, up, down, CancellationToken.None, strip: 100);
        Assert.That(order, Is.EqualTo(Greedy(similarity, 8)));
    }

    [TestCase(96, 8)]
    [TestCase(20, 20)]
    [TestCase(30, 4)]
    [TestCase(5, 1)]
    public void LikeChannelsShareABlock(int channels, int block)
    {
        // Noisy copies, up to sign and scale, of one channel for each block.
        const int Hidden = 64;
        var random = new Random(channels);
        int[] kinds = [.. Enumerable.Range(0, channels).Select(channel => channel / block).OrderBy(_ => random.Next())];
        Tensor[] weights = [.. Enumerable.Range(0, 3).Select(seed =>
        {
            using var generator = new Generator((ulong)(10 + seed));
            Tensor centres = randn([channels, Hidden], generator: generator).index_select(0, tensor(Array.ConvertAll(kinds, kind => (long)kind)));
            Tensor signs = randn([channels, 1], generator: generator);
            return (centres + (0.2f * randn([channels, Hidden], generator: generator))) * signs;
        })];
        long[] order = ChannelOrder.Find(weights[0], weights[1], weights[2].t().contiguous(), block, CancellationToken.None);
        Assert.That(order.Order(), Is.EqualTo(Enumerable.Range(0, channels)));
        Assert.That(order.Select(channel => kinds[channel]).Chunk(block).Select(blockKinds => blockKinds.Distinct().Count()), Is.All.EqualTo(1));
    }

    [Test]
    public void ChannelsOfNothingComeLastAndTheSearchCanBeStopped()
    {
        Tensor zero = zeros(6, 9);
        Assert.That(ChannelOrder.Find(zero, zero, zero.t().contiguous(), 4, CancellationToken.None), Is.EqualTo(Enumerable.Range(0, 6)));
        (Tensor gate, Tensor up, Tensor down) = Weights(channels: 12, hidden: 8, seed: 1);
        up.narrow(0, 2, 4).zero_();
        Assert.That(ChannelOrder.Find(gate, up, down, 1, CancellationToken.None)[8..], Is.EqualTo(new[] { 2, 3, 4, 5 }));
        Assert.That(() => ChannelOrder.Find(gate, up, down, 4, new CancellationToken(true)), Throws.InstanceOf<OperationCanceledException>());
    }

    private static (Tensor Gate, Tensor Up, Tensor Down) Weights(int channels, int hidden, ulong seed)
    {
        using var generator = new Generator(seed);
        return (randn([channels, hidden], generator: generator), randn([channels, hidden], generator: generator), randn([hidden, channels], generator: generator));
    }

    private static long[] Greedy(ChannelSimilarity similarity, int block)
    {
        var order = new List<long>();
        while (order.Count < similarity.Strengths.Length)
        {
            double[] strengths = similarity.Strengths.ToArray();
            var left = Enumerable.Range(0, strengths.Length).Except(order.Select(channel => (int)channel)).ToList();
            long[] inBlock = [.. order.Skip(order.Count / block * block)];
            order.Add(inBlock.Length == 0
                ? left.MaxBy(channel => strengths[channel])
                : left.MaxBy(channel => inBlock.Sum(member => (long)similarity.Of((int)member)[channel])));
        }

        return [.. order];
    }

    private static double[][] Rows(Tensor matrix)
    {
        float[] values = matrix.contiguous().data<float>().ToArray();
        return [.. values.Chunk((int)matrix.shape[1]).Select(row => Array.ConvertAll(row, value => (double)value))];
    }

    private static double Norm(double[] vector) => Math.Sqrt(vector.Sum(value => value * value));

    private static double Cosine(double[] a, double[] b) =>
        Norm(a) == 0 || Norm(b) == 0 ? 0 : a.Zip(b, (x, y) => x * y).Sum() / Norm(a) / Norm(b);
}
