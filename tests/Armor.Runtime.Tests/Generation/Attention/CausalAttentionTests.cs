using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation.Attention;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;
using CsCheck;

namespace Armor.Runtime.Tests.Generation.Attention;

/// <summary>Attention over the paged cache against a float64 reference, in any mix of sequences, windows, pages and head sizes.</summary>
public sealed class CausalAttentionTests
{
    private static readonly Gen<ModelConfiguration> AnyConfiguration = Gen.Select(
        Gen.Int[1, 20], Gen.Int[1, 3], Gen.OneOf(Gen.Const(1), Gen.Const(2), Gen.Const(3), Gen.Const(5)), Gen.Int[1, 100].Nullable(), Gen.OneOf(Gen.Const((float?)null), Gen.Float[1, 9].Nullable()),
        (halfHead, heads, group, window, cap) => new ModelConfiguration
        {
            Family = ModelFamily.Gemma2,
            HiddenSize = 8,
            IntermediateSize = 8,
            LayerCount = 2,
            AttentionHeadCount = heads * group,
            KeyValueHeadCount = heads,
            HeadSize = 2 * halfHead,
            VocabularySize = 8,
            ContextLength = 400,
            SlidingWindow = window,
            AttentionSoftCap = cap is > 1 ? cap : null,
        });

    [Test]
    public void EveryQueryIsTheReferences() => Gen.Select(
        AnyConfiguration, Gen.Int[1, 150].Array[1, 3], Gen.Int[1, 40].Array[3], Gen.Bool, Gen.Bool, Gen.Int).Sample(
        (configuration, lengths, rows, isHalf, isThreaded, seed) =>
        {
            var random = new Random(seed);
            TensorElementType type = isHalf ? TensorElementType.Float16 : TensorElementType.Float32;
            Sequence[] sequences = [.. lengths.Select(length => new Sequence(configuration, length, type, random))];
            var segments = new List<Segment>();
            foreach (Sequence sequence in sequences)
            {
                int count = Math.Min(rows[segments.Count], sequence.Length);
                segments.Add(new Segment(sequence.Cache, sequence.Length - count, segments.Sum(segment => segment.Rows), count, false));
            }

            int total = segments.Sum(segment => segment.Rows);
            float[] queries = Row(total * configuration.QuerySize, random);
            var attention = new CausalAttention(configuration, isThreaded ? new Backwards() : null);
            attention.Start([.. segments]);
            for (int layer = 0; layer < 2; layer++)
            {
                float[] context = [.. Enumerable.Repeat(float.NaN, queries.Length)];
                attention.Attend(layer, queries, context);
                for (int i = 0; i < segments.Count; i++)
                {
                    double worst = Worst(configuration, sequences[i], segments[i], layer, queries, context);
                    Assert.That(worst, Is.LessThan(2e-5), $"layer {layer}, sequence {i}");
                }
            }
        }, iter: 200);

    [Test]
    public void ARowIsTheSameToTheLastBitWhateverIsBesideIt([Values] bool isHalf, [Values(null, 50)] int? window)
    {
        ModelConfiguration configuration = AnyConfiguration.Single() with { HeadSize = 24, SlidingWindow = window };
        var random = new Random(5);
        var sequence = new Sequence(configuration, 200, isHalf ? TensorElementType.Float16 : TensorElementType.Float32, random);
        float[] queries = Row(200 * configuration.QuerySize, random);
        float[] whole = Attend(new Segment(sequence.Cache, 0, 0, 200, false));
        for (int row = 0; row < 200; row += 7)
        {
            float[] single = Attend(new Segment(sequence.Cache, row, row, 1, false));
            Assert.That(
                single.AsSpan(row * configuration.QuerySize, configuration.QuerySize).SequenceEqual(
                    whole.AsSpan(row * configuration.QuerySize, configuration.QuerySize)),
                $"row {row}");
        }

        float[] Attend(Segment segment)
        {
            var attention = new CausalAttention(configuration, null);
            attention.Start([segment]);
            var context = new float[queries.Length];
            attention.Attend(0, queries, context);
            return context;
        }
    }

    [Test]
    public void ACacheThatNoMachineHoldsIsRefused()
    {
        ModelConfiguration configuration = AnyConfiguration.Single() with { ContextLength = int.MaxValue, LayerCount = 1000 };
        var cache = new KeyValueCache(configuration, TensorElementType.Float32);
        Assert.That(() => cache.Reserve(int.MaxValue), Throws.TypeOf<InsufficientMemoryException>().With.Message.Contains("2147483647 positions"));
        Assert.That(cache.Capacity, Is.Zero);
        cache.Reserve(65);
        Assert.That(cache.Capacity, Is.EqualTo(128));
    }

    private static double Worst(ModelConfiguration configuration, Sequence sequence, Segment segment, int layer, float[] queries, float[] context)
    {
        int group = configuration.AttentionHeadCount / configuration.KeyValueHeadCount;
        int size = configuration.HeadSize;
        double worst = 0;
        for (int row = 0; row < segment.Rows; row++)
        {
            int position = segment.FirstPosition + row;
            int first = Math.Max(0, position + 1 - (configuration.SlidingWindowOf(layer) ?? int.MaxValue));
            for (int head = 0; head < configuration.AttentionHeadCount; head++)
            {
                int start = ((segment.FirstRow + row) * configuration.QuerySize) + (head * size);
                int column = head / group * size;
                double[] scores = [.. Enumerable.Range(first, position + 1 - first).Select(key =>
                {
                    double score = configuration.AttentionScale
                        * Enumerable.Range(0, size).Sum(i => (double)queries[start + i] * sequence.Keys[layer][key][column + i]);
                    return configuration.AttentionSoftCap is { } cap ? cap * Math.Tanh(score / cap) : score;
                })];
                double[] weights = [.. scores.Select(score => Math.Exp(score - scores.Max()))];
                for (int i = 0; i < size; i++)
                {
                    double expected = weights.Select((weight, key) => weight * sequence.Values[layer][first + key][column + i]).Sum() / weights.Sum();
                    double difference = Math.Abs(context[start + i] - expected);
                    worst = double.IsNaN(difference) ? double.PositiveInfinity : Math.Max(worst, difference);
                }
            }
        }

        return worst;
    }

    private static float[] Row(int count, Random random) => [.. Enumerable.Range(0, count).Select(_ => (random.NextSingle() * 4) - 2)];

    /// <summary>Runs the parts one after another, the last one first.</summary>
    private sealed class Backwards : IKernelThreads
    {
        public int Count => 3;

        public void Run(IParallelWork work, int parts)
        {
            for (int part = parts - 1; part >= 0; part--)
            {
                work.Run(part, parts);
            }
        }
    }

    /// <summary>Keys and values of both layers, in the cache and as they are stored in it.</summary>
    private sealed class Sequence
    {
        public Sequence(ModelConfiguration configuration, int length, TensorElementType type, Random random)
        {
            Length = length;
            Cache = new KeyValueCache(configuration, type);
            Cache.Reserve(random.Next(1, length + 1));
            Cache.Reserve(length);
            for (int layer = 0; layer < 2; layer++)
            {
                for (int position = 0; position < length; position++)
                {
                    float[] keys = Row(configuration.KeyValueSize, random);
                    float[] values = Row(configuration.KeyValueSize, random);
                    Cache.Store(layer, position, keys, values);
                    Keys[layer].Add(FloatConversion.Rounded(type, keys));
                    Values[layer].Add(FloatConversion.Rounded(type, values));
                }
            }
        }

        public int Length { get; }

        public KeyValueCache Cache { get; }

        public List<float[]>[] Keys { get; } = [[], []];

        public List<float[]>[] Values { get; } = [[], []];
    }
}
