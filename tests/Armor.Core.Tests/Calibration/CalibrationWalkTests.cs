using Armor.Core.Calibration;
using Armor.Core.Calibration.Streams;
using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Calibration;

public class CalibrationWalkTests
{
    private static readonly LinearGroup[] Groups = Enum.GetValues<LinearGroup>();

    private readonly TemporaryFolder folder = new();

    [OneTimeSetUp]
    public void WriteModel() => TinyLlama.Write(folder.Path);

    [OneTimeTearDown]
    public void DeleteModel() => folder.Dispose();

    [Test]
    public void PaddedBatchesGiveTheMomentsOfEachSequenceAlone()
    {
        int[][] sequences = [.. TinyLlama.Sequences(20).Select(sequence => sequence[..Math.Min(sequence.Length, TinyLlama.ContextLength - 1)])];
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path));
        Dictionary<(int, LinearGroup), double[,]> reference = ReferenceMoments(model, sequences);

        foreach (((int, LinearGroup) place, ActivationStatistics statistics) in Walk(model, sequences, CalibrationMode.Dense, ActivationMoments.Hessian))
        {
            using (statistics)
            {
                Assert.That(statistics.TokenCount, Is.EqualTo(sequences.Sum(sequence => sequence.Length)));
                using Tensor expected = tensor(reference[place]);
                using Tensor difference = (statistics.Hessian! - expected).abs().max() / expected.abs().max();
                Assert.That(difference.item<double>(), Is.LessThan(1e-5), place.ToString());
            }
        }
    }

    [Test]
    public void SequentialEqualsDenseWhereNoWeightChanges()
    {
        int[][] sequences = [.. TinyLlama.Sequences(12).Select(sequence => sequence[..Math.Min(sequence.Length, 23)])];
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path));
        var dense = Walk(model, sequences, CalibrationMode.Dense, ActivationMoments.Hessian).ToDictionary(entry => entry.Place, entry => entry.Statistics);
        foreach (var (place, statistics) in Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment | ActivationMoments.Hessian))
        {
            Assert.That(statistics.Hessian!.Equals(dense[place].Hessian!), Is.True, place.ToString());
            using Tensor difference = (statistics.CrossMoment! - statistics.Hessian).abs().max() / statistics.Hessian.abs().max();
            Assert.That(difference.item<double>(), Is.LessThan(1e-6), place.ToString());
            statistics.Dispose();
            dense[place].Dispose();
        }
    }

    [Test]
    public void OnlyLinearsThatWriteToTheStreamGetWhatIsMissingThere()
    {
        int[][] sequences = TinyLlama.Sequences(6, seed: 4);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path));
        const ActivationMoments moments = ActivationMoments.Hessian | ActivationMoments.CrossMoment | ActivationMoments.ResidualMoment;
        foreach (var (place, statistics) in Walk(model, sequences, CalibrationMode.Sequential, moments))
        {
            bool writes = place.Item2 is LinearGroup.AttentionOutput or LinearGroup.MlpOutput;
            Assert.That(statistics.ResidualMoment is not null, Is.EqualTo(writes), place.ToString());

            // No weight was replaced: the streams are equal.
            Assert.That(statistics.ResidualMoment?.abs().max().item<float>() ?? 0, Is.Zero, place.ToString());
            statistics.Dispose();
        }
    }

    [Test]
    public void KeepingInputsChangesNoBit()
    {
        int[][] sequences = TinyLlama.Sequences(9, seed: 4);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path));
        var kept = Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, Zero).ToDictionary(entry => entry.Place, entry => entry.Statistics);
        foreach (var (place, statistics) in Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, Zero, WalkStorage.Memory with { KeptBytes = 0 }))
        {
            Assert.That(statistics.Hessian!.Equals(kept[place].Hessian!) && statistics.CrossMoment!.Equals(kept[place].CrossMoment!), Is.True, place.ToString());
            statistics.Dispose();
            kept[place].Dispose();
        }

        static void Zero(CalibrationWalk walk)
        {
            using Tensor zero = zeros_like(walk.DenseWeight(ModelShapes.Up));
            walk.Replace(ModelShapes.Up, zero);
        }
    }

    [Test]
    public void WhereActivationsLieChangesNoBit()
    {
        int[][] sequences = TinyLlama.Sequences(9, seed: 4);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path));
        var inMemory = Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, Zero).ToDictionary(entry => entry.Place, entry => entry.Statistics);
        long some = 64 * 32 * sizeof(float) * 3;
        foreach (var storage in new[] { new WalkStorage("all", 0, 0, true), new WalkStorage("some", some, some, true), new WalkStorage("inputs", 0, 0) })
        {
            WalkStorage own = storage with { Folder = folder.File(storage.Folder!) };
            foreach (var (place, statistics) in Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, Zero, own))
            {
                Assert.That(
                    statistics.Hessian!.Equals(inMemory[place].Hessian!) && statistics.CrossMoment!.Equals(inMemory[place].CrossMoment!), Is.True, place + storage.Folder);
                statistics.Dispose();
            }
        }

        foreach (ActivationStatistics statistics in inMemory.Values)
        {
            statistics.Dispose();
        }

        static void Zero(CalibrationWalk walk)
        {
            using Tensor zero = zeros_like(walk.DenseWeight(ModelShapes.Up));
            walk.Replace(ModelShapes.Up, zero);
        }
    }

    [TestCase(0L)]
    [TestCase(long.MaxValue)]
    public void AWalkGoesOnFromTheLastBoundary(long streamBytes)
    {
        int[][] sequences = TinyLlama.Sequences(9, seed: 4);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path));
        var storage = new WalkStorage(folder.File("resumed" + streamBytes), streamBytes, 0, true);
        var whole = Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment).ToDictionary(entry => entry.Place, entry => entry.Statistics);
        // Left within the second layer, after attention has been passed.
        foreach (var (place, statistics) in Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, storage: storage))
        {
            statistics.Dispose();
            if (place == (1, LinearGroup.MlpInput))
            {
                break;
            }
        }

        Assert.That(Start(lastStart: 0), Is.Zero, "a boundary behind what is wanted is of no use");
        Assert.That(Directory.Exists(storage.Folder), Is.False);
        foreach (var (_, statistics) in Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, storage: storage).Take(5))
        {
            statistics.Dispose();
        }

        var places = new List<(int, LinearGroup)>();
        foreach (var (place, statistics) in Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, storage: storage, lastStart: 1))
        {
            places.Add(place);
            Assert.That(statistics.Hessian!.Equals(whole[place].Hessian!) && statistics.CrossMoment!.Equals(whole[place].CrossMoment!), Is.True, place.ToString());
            statistics.Dispose();
            if (place.Group == LinearGroup.MlpInput)
            {
                break;
            }
        }

        Assert.That(places[0], Is.EqualTo((1, LinearGroup.AttentionInput)));
        string file = Directory.GetFiles(storage.Folder!, "dense.00001.f32").Single();
        using (var stream = new FileStream(file, FileMode.Open))
        {
            stream.Position = stream.Length / 2;
            int old = stream.ReadByte();
            stream.Position--;
            stream.WriteByte((byte)(old ^ 1));
        }

        Assert.That(Start(lastStart: 1), Is.Zero, "damage is found, and the walk begins anew");
        foreach (ActivationStatistics statistics in whole.Values)
        {
            statistics.Dispose();
        }

        int Start(int lastStart)
        {
            IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(sequences, 64, CPU);
            using var walk = new CalibrationWalk(model, batches, CalibrationMode.Sequential, true, storage, lastStart);
            foreach (CalibrationBatch batch in batches)
            {
                batch.Dispose();
            }

            return walk.FirstLayer;
        }
    }

    [Test]
    public void AReplacedWeightReachesEverythingAfterItAndNothingBefore()
    {
        int[][] sequences = TinyLlama.Sequences(6, seed: 3);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path));
        var dense = Walk(model, sequences, CalibrationMode.Dense, ActivationMoments.Hessian).ToDictionary(entry => entry.Place, entry => entry.Statistics);

        // gate of layer 0 becomes zero: down of layer 0 sees zeros, layer 1 sees other inputs, what came before stays.
        foreach (var (place, statistics) in Walk(
            model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment, walk =>
            {
                using Tensor zero = zeros_like(walk.DenseWeight(ModelShapes.Gate));
                walk.Replace(ModelShapes.Gate, zero);
                Assert.That(walk.DenseWeight(ModelShapes.Gate).abs().max().item<float>(), Is.GreaterThan(0), "the dense weight is untouched");
            }))
        {
            bool before = place.Layer == 0 && place.Group != LinearGroup.MlpOutput;
            Assert.That(statistics.Hessian!.Equals(dense[place].Hessian!), Is.EqualTo(before), place.ToString());
            if (place == (0, LinearGroup.MlpOutput))
            {
                Assert.That(statistics.Hessian!.abs().max().item<double>(), Is.Zero);
            }

            statistics.Dispose();
            dense[place].Dispose();
        }
    }

    [Test]
    public void NothingIsLeftBehind()
    {
        int[][] sequences = TinyLlama.Sequences(4);
        using CheckpointFolder checkpoint = CheckpointFolder.Open(folder.Path);
        long before = DisposeScopeManager.Statistics.ThreadTotalLiveCount;
        var perLayer = new List<long>();
        using (var model = new LayerwiseModel(checkpoint, ModelConfiguration.Load(folder.Path)))
        {
            foreach (var (place, statistics) in Walk(model, sequences, CalibrationMode.Sequential, ActivationMoments.CrossMoment))
            {
                statistics.Dispose();
                if (place.Group == LinearGroup.MlpOutput)
                {
                    perLayer.Add(DisposeScopeManager.Statistics.ThreadTotalLiveCount);
                }
            }
        }

        Assert.That(perLayer[1], Is.EqualTo(perLayer[0]), "no growth from layer to layer");
        Assert.That(DisposeScopeManager.Statistics.ThreadTotalLiveCount, Is.EqualTo(before));
    }

    private static IEnumerable<((int Layer, LinearGroup Group) Place, ActivationStatistics Statistics)> Walk(
        LayerwiseModel model,
        int[][] sequences,
        CalibrationMode mode,
        ActivationMoments moments,
        Action<CalibrationWalk>? afterFirstMlpInput = null,
        WalkStorage? storage = null,
        int lastStart = 0)
    {
        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(sequences, 64, CPU);
        using var walk = new CalibrationWalk(model, batches, mode, moments.HasFlag(ActivationMoments.CrossMoment), storage, lastStart);
        for (int layer = walk.FirstLayer; layer < TinyLlama.LayerCount; layer++)
        {
            walk.EnterLayer(layer);
            foreach (LinearGroup group in Groups)
            {
                yield return ((layer, group), walk.Collect(group, null, moments, CancellationToken.None));
                if (layer == 0 && group == LinearGroup.MlpInput)
                {
                    afterFirstMlpInput?.Invoke(walk);
                }

                walk.Pass(group, null, CancellationToken.None);
            }

            walk.CompleteLayer(layer);
        }

        foreach (CalibrationBatch batch in batches)
        {
            batch.Dispose();
        }
    }

    /// <summary>H of every group from one sequence at a time, without padding, summed in plain float64.</summary>
    private static Dictionary<(int, LinearGroup), double[,]> ReferenceMoments(LayerwiseModel model, int[][] sequences)
    {
        var sums = new Dictionary<(int, LinearGroup), double[,]>();
        long tokens = sequences.Sum(sequence => (long)sequence.Length);
        using var noGradients = no_grad();
        foreach (int[] sequence in sequences)
        {
            using var scope = NewDisposeScope();
            Tensor x = model.Embed(tensor(sequence.Select(token => (long)token).ToArray()).unsqueeze(0));
            for (int index = 0; index < TinyLlama.LayerCount; index++)
            {
                using LoadedLayer loaded = model.LoadLayer(index);
                DecoderLayer layer = loaded.Layer;
                Tensor a = layer.AttentionInput(x);
                Add((layer.Index, LinearGroup.AttentionInput), a);
                Tensor context = layer.AttentionContext(a);
                Add((layer.Index, LinearGroup.AttentionOutput), context);
                x = layer.AddAttention(x, context);
                Tensor m = layer.MlpInput(x);
                Add((layer.Index, LinearGroup.MlpInput), m);
                Tensor d = layer.MlpActivation(m);
                Add((layer.Index, LinearGroup.MlpOutput), d);
                x = layer.AddMlp(x, d);
            }
        }

        return sums;

        void Add((int, LinearGroup) place, Tensor input)
        {
            int dimension = (int)input.shape[^1];
            float[] values = input.data<float>().ToArray();
            double[,] sum = sums.TryGetValue(place, out double[,]? found) ? found : sums[place] = new double[dimension, dimension];
            for (int token = 0; token < values.Length / dimension; token++)
            {
                ReadOnlySpan<float> row = values.AsSpan(token * dimension, dimension);
                for (int i = 0; i < dimension; i++)
                {
                    for (int j = 0; j < dimension; j++)
                    {
                        sum[i, j] += (double)row[i] * row[j] / tokens;
                    }
                }
            }
        }
    }
}
