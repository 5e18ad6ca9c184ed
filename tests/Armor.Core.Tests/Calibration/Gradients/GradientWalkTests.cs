using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Calibration.Gradients;

public class GradientWalkTests
{
    private const ulong Seed = 5;

    private readonly TemporaryFolder folder = new();

    [OneTimeSetUp]
    public void WriteModel() => TinyLlama.Write(folder.File("model"));

    [OneTimeTearDown]
    public void DeleteModel() => folder.Dispose();

    [TestCase(long.MaxValue)]
    [TestCase(1)]
    public void MomentsEqualThoseOfAutogradThroughTheWholeModel(long memoryBytes)
    {
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.File("model"));
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.File("model")));
        IReadOnlyList<CalibrationBatch> batches = Batches();
        var files = new GradientFiles(folder.File($"gradients-{memoryBytes}"));
        string streams = folder.File($"streams-{memoryBytes}");
        new GradientWalk(model, batches, Seed).Run(files.Write, streams, memoryBytes, null, default);
        Dictionary<string, Tensor> expected = WholeModel(batches);
        Assert.That(expected, Has.Count.EqualTo(7 * TinyLlama.LayerCount));
        Assert.That(Directory.Exists(streams) ? Directory.GetFiles(streams) : [], Is.Empty);
        foreach ((string linear, Tensor moment) in expected)
        {
            using GradientStatistics found = files.Read(linear)!;
            using Tensor difference = (found.Blocks.Single() - moment).abs().max() / moment.abs().max();
            Assert.That(found.TokenCount, Is.EqualTo(batches.Sum(batch => batch.TokenCount)));
            Assert.That(difference.item<float>(), Is.LessThan(1e-4f), linear);
            moment.Dispose();
        }
    }

    [Test]
    public void LabelsFollowTheModelsPrediction()
    {
        using var scope = NewDisposeScope();
        Tensor logits = tensor(new[] { 0.1f, 0.2f, 0f, 0.7f }).log().unsqueeze(0).repeat(20_000, 1);
        long[] labels = GradientWalk.Draw(logits, new Random(3)).data<long>().ToArray();
        double[] shares = [.. Enumerable.Range(0, 4).Select(label => labels.Count(found => found == label) / (double)labels.Length)];
        Assert.That(shares, Is.EqualTo(new[] { 0.1, 0.2, 0, 0.7 }).Within(0.015));
    }

    [Test]
    public void StopsWhenCancelled()
    {
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.File("model"));
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.File("model")));
        using var source = new CancellationTokenSource();
        var walk = new GradientWalk(model, Batches(), Seed);
        Assert.That(
            () => walk.Run((_, _) => source.Cancel(), folder.File("cancelled"), 1, null, source.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFiles(folder.File("cancelled")), Is.Empty);
    }

    [Test]
    public void BlocksOfLargeLinearsAreCutFromTheWholeMoment()
    {
        using var scope = NewDisposeScope();
        Tensor rows = rand(40, GradientStatistics.LargestBlock + 12);
        Tensor moment = rows.t().mm(rows);
        using GradientStatistics statistics = GradientStatistics.FromMoment(moment, 40);
        using var sum = new GradientAccumulator("linear", (int)rows.shape[1]);
        sum.Add(rows.narrow(0, 0, 15));
        sum.Add(rows.narrow(0, 15, 25));
        using GradientStatistics built = sum.Build(1);
        Assert.That(statistics.Blocks.Select(block => block.shape[0]), Is.EqualTo(new[] { GradientStatistics.LargestBlock, 12 }));
        for (int block = 0; block < 2; block++)
        {
            Assert.That((built.Blocks[block] - statistics.Blocks[block]).abs().max().item<float>(), Is.LessThan(1e-4f));
        }
    }

    private static IReadOnlyList<CalibrationBatch> Batches() =>
        CalibrationBatch.Create([.. TinyLlama.Sequences(9).Select(sequence => sequence[..Math.Min(sequence.Length, 23)])], 64, CPU);

    // The labels are the walk's; all else goes through the whole model at once.
    private Dictionary<string, Tensor> WholeModel(IReadOnlyList<CalibrationBatch> batches)
    {
        using var model = CausalLanguageModel.Load(folder.File("model"));
        model.RequireGradients(true);
        var outputs = new Dictionary<string, Tensor>();
        foreach (DecoderLayer layer in model.Layers)
        {
            foreach (string linear in layer.Linears.Select(linear => linear.Name))
            {
                layer.ReplaceLinear(linear, input =>
                {
                    Tensor output = nn.functional.linear(input, layer.GetLinearWeight(linear)).DetachFromDisposeScope();
                    outputs[ModelShapes.LayerPrefix(layer.Index) + linear] = output;
                    return output.alias();
                });
            }
        }

        var moments = new Dictionary<string, Tensor>();
        for (int index = 0; index < batches.Count; index++)
        {
            using var scope = NewDisposeScope();
            Tensor logits = batches[index].SelectTokens(model.Forward(batches[index].Tokens));
            Tensor labels = GradientWalk.Draw(logits.detach(), new Random(unchecked((int)Seeds.Mix(Seed, (ulong)index))));
            Tensor loss = nn.functional.cross_entropy(logits, labels, reduction: nn.Reduction.Sum);
            string[] names = [.. outputs.Keys];
            IList<Tensor> gradients = autograd.grad([loss], [.. names.Select(name => outputs[name])]);
            for (int place = 0; place < names.Length; place++)
            {
                Tensor rows = batches[index].SelectTokens(gradients[place]).detach();
                Tensor sum = rows.t().mm(rows).Over(batches.Sum(batch => batch.TokenCount));
                moments[names[place]] = (moments.TryGetValue(names[place], out Tensor? before) ? before.Plus(sum) : sum).DetachFromDisposeScope();
                before?.Dispose();
                outputs[names[place]].Dispose();
            }
        }

        return moments;
    }
}
