using Armor.Core.Calibration;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Families;

/// <summary>The statistics of experts against plain loops over the tokens that reach them.</summary>
public sealed class ExpertStatisticsTests
{
    private const string Family = "Qwen3-MoE";
    private const int Hidden = 32;
    private const int Inner = 24;
    private const int Experts = 6;
    private const int PerToken = 3;

    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCase(2, TestName = "Experts with few tokens are filled up with the layer's statistics")]
    [TestCase(12, TestName = "Experts with many tokens have their own statistics")]
    public void StatisticsAreThoseOfTheTokensThatReachAnExpert(int sequenceCount)
    {
        Dictionary<string, double[]> weights = FamilyCheckpoint.Write(Family, folder.Path);
        int[][] sequences = [.. Enumerable.Range(0, sequenceCount).Select(index => FamilyCheckpoint.Tokens(15 + index, index))];
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, checkpoint.Configuration);
        double[][] m = MlpInputs(model, sequences);
        (int Expert, double Weight)[][] routes = [.. m.Select(row => Routes(row, weights))];

        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(sequences, 60, CPU);
        using var walk = new CalibrationWalk(model, batches, CalibrationMode.Dense, crossMoment: false);
        walk.EnterLayer(0);
        walk.Pass(LinearGroup.AttentionOutput, null, CancellationToken.None);
        for (int expert = 0; expert < Experts; expert++)
        {
            var own = m.Zip(routes).Where(pair => pair.Second.Any(route => route.Expert == expert))
                .Select(pair => (Row: pair.First, Weight: Math.Pow(pair.Second.First(route => route.Expert == expert).Weight, 2))).ToArray();
            foreach (LinearGroup group in new[] { LinearGroup.MlpInput, LinearGroup.MlpOutput })
            {
                int size = group == LinearGroup.MlpInput ? Hidden : Inner;
                double[] Input(double[] row) => group == LinearGroup.MlpInput ? row : Activation(row, expert, weights);
                double[] ownMoment = Moment(size, own.Select(token => (Input(token.Row), token.Weight)));
                double[] allMoment = Moment(size, m.Select(row => (Input(row), 1.0)));
                double share = Math.Min(1, own.Length / (2.0 * size));
                double[] expected = [.. ownMoment.Zip(allMoment, (a, b) => (share * a) + ((1 - share) * b))];

                using ActivationStatistics statistics = walk.Collect(group, expert, ActivationMoments.Hessian, CancellationToken.None);
                double[] found = statistics.Hessian!.data<double>().ToArray();
                double scale = expected.Max(Math.Abs);
                Assert.That(found.Zip(expected, (x, y) => Math.Abs(x - y)).Max() / scale, Is.LessThan(1e-5), $"{group} {expert}");
                Assert.That(
                    statistics.Notes,
                    share < 1 ? Has.One.StartsWith($"expert {expert} saw {own.Length} of the {2 * size} tokens wanted") : Is.Empty);
                Assert.That(statistics.TokenCount, Is.EqualTo(share < 1 ? Math.Max(own.Length, Math.Min(2 * size, m.Length)) : own.Length));
            }
        }

        foreach (CalibrationBatch batch in batches)
        {
            batch.Dispose();
        }
    }

    [Test]
    public void TheCrossMomentIsTheHessianWhereNoWeightHasChanged()
    {
        FamilyCheckpoint.Write("Mixtral", folder.Path);
        int[][] sequences = [.. Enumerable.Range(0, 12).Select(index => FamilyCheckpoint.Tokens(20, index))];
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, checkpoint.Configuration);
        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(sequences, 60, CPU);
        using var walk = new CalibrationWalk(model, batches, CalibrationMode.Sequential, crossMoment: true);
        const ActivationMoments Moments = ActivationMoments.Hessian | ActivationMoments.CrossMoment;
        for (int layer = 0; layer < 2; layer++)
        {
            walk.EnterLayer(layer);
            foreach (var group in ModelShapes.Linears(checkpoint.Configuration).GroupBy(linear => (linear.Group, linear.Expert)))
            {
                using ActivationStatistics statistics = walk.Collect(group.Key.Group, group.Key.Expert, Moments, CancellationToken.None);
                using Tensor difference = (statistics.CrossMoment! - statistics.Hessian!).abs().max() / statistics.Hessian!.abs().max();
                Assert.That(difference.item<double>(), Is.LessThan(1e-6), group.Key.ToString());
                walk.Pass(group.Key.Group, group.Key.Expert, CancellationToken.None);
            }

            walk.CompleteLayer(layer);
        }

        foreach (CalibrationBatch batch in batches)
        {
            batch.Dispose();
        }
    }

    [Test]
    public async Task TheReportNamesExpertsThatNoTokenReached()
    {
        FamilyCheckpoint.Write("Mixtral", folder.File("source"));
        using (CausalLanguageModel model = CausalLanguageModel.Load(folder.File("source")))
        {
            // Scores in one direction: a token goes through experts 0 and 2 or through 1 and 4, by the sign of its product with it.
            using var scope = NewDisposeScope();
            Tensor direction = tensor(Array.ConvertAll(FamilyCheckpoint.Tokens(Hidden, seed: 2), token => token - 47.5f));
            Tensor multiples = tensor(new[] { 1f, -1f, 0.9f, 0.5f, 0.1f });
            model.SetWeight("model.layers.0.block_sparse_moe.gate.weight", multiples.outer(direction));
            model.Save(folder.File("model"), TensorElementType.Float32);
        }

        ModelPruningReport report = await ModelPruner.PruneTokensAsync(
            folder.File("model"), folder.File("out"), [.. Enumerable.Range(0, 10).Select(index => FamilyCheckpoint.Tokens(20, index))], FamilyCheckpoint.Quick);

        string[] starved = [.. report.Linears.Where(linear => linear.Notes.Any(note => note.Contains(" saw 0 of the ", StringComparison.Ordinal))).Select(linear => linear.Name)];
        Assert.That(starved, Is.EqualTo(new[] { "w1", "w3", "w2" }.Select(name => $"model.layers.0.block_sparse_moe.experts.3.{name}")));
        Assert.That(report.Linears.Select(linear => linear.Loss), Has.All.GreaterThan(0).And.All.LessThan(double.PositiveInfinity));
    }

    [Test]
    public async Task AnInterruptedRunGivesTheBytesOfOneThatWasNot()
    {
        string model = folder.File("model");
        FamilyCheckpoint.Write("Mixtral", model);
        int[][] sequences = [.. Enumerable.Range(0, 8).Select(index => FamilyCheckpoint.Tokens(20, index))];
        ModelPrunerOptions options = FamilyCheckpoint.Quick with { Resume = true };
        await ModelPruner.PruneTokensAsync(model, folder.File("whole"), sequences, options);
        foreach (int stop in new[] { 7, 11, 24 })
        {
            using var source = new CancellationTokenSource();
            Assert.That(
                async () => await ModelPruner.PruneTokensAsync(model, folder.File("stopped"), sequences, options, new Stopping(source, stop), source.Token),
                Throws.InstanceOf<OperationCanceledException>());
        }

        await ModelPruner.PruneTokensAsync(model, folder.File("stopped"), sequences, options);
        foreach (string path in Directory.GetFiles(folder.File("whole")))
        {
            Assert.That(File.ReadAllBytes(Path.Combine(folder.File("stopped"), Path.GetFileName(path))), Is.EqualTo(File.ReadAllBytes(path)), path);
        }
    }

    /// <summary>What the experts of the first layer read, token by token, each sequence on its own.</summary>
    private static double[][] MlpInputs(LayerwiseModel model, int[][] sequences)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using LoadedLayer loaded = model.LoadLayer(0);
        DecoderLayer layer = loaded.Layer;
        var rows = new List<double[]>();
        foreach (int[] sequence in sequences)
        {
            Tensor x = model.Embed(tensor(Array.ConvertAll(sequence, token => (long)token)).unsqueeze(0));
            Tensor m = layer.MlpInput(layer.AddAttention(x, layer.AttentionContext(layer.AttentionInput(x))));
            rows.AddRange(m.to(float64).contiguous().data<double>().ToArray().Chunk(Hidden));
        }

        return [.. rows];
    }

    private static (int Expert, double Weight)[] Routes(double[] row, Dictionary<string, double[]> weights)
    {
        double[] scores = Product(weights["model.layers.0.mlp.gate.weight"], row);
        var best = scores.Select((score, expert) => (expert, Math.Exp(score - scores.Max()))).OrderByDescending(pair => pair.Item2).Take(PerToken).ToArray();
        return [.. best.Select(pair => (pair.expert, pair.Item2 / best.Sum(other => other.Item2)))];
    }

    private static double[] Activation(double[] row, int expert, Dictionary<string, double[]> weights)
    {
        double[] gate = Product(weights[$"model.layers.0.mlp.experts.{expert}.gate_proj.weight"], row);
        double[] up = Product(weights[$"model.layers.0.mlp.experts.{expert}.up_proj.weight"], row);
        return [.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)];
    }

    private static double[] Moment(int size, IEnumerable<(double[] Input, double Weight)> tokens)
    {
        var sum = new double[size * size];
        double total = 0;
        foreach ((double[] input, double weight) in tokens)
        {
            total += weight;
            for (int i = 0; i < sum.Length; i++)
            {
                sum[i] += weight * input[i / size] * input[i % size];
            }
        }

        return [.. sum.Select(value => value / total)];
    }

    private static double[] Product(double[] matrix, double[] x) =>
        [.. matrix.Chunk(x.Length).Select(row => row.Zip(x, (a, b) => a * b).Sum())];

    private sealed class Stopping(CancellationTokenSource source, int after) : IProgress<ModelPruningProgress>
    {
        public void Report(ModelPruningProgress value)
        {
            if (value.Finished && value.Index == after)
            {
                source.Cancel();
            }
        }
    }
}
