using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Models;

namespace Armor.Runtime.Tests.Generation;

/// <summary>Small models whose parts are held in other types than the stored ones: their logits, what their tokens allocate, and a backend that refuses such types.</summary>
internal static class HeldTypeModels
{
    public static readonly int[] Prompt = [3, 30, 7, 7, 0, 36, 12];

    // A row of 320 columns has two scales.
    public static readonly ModelConfiguration Tied = new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = 320,
        IntermediateSize = 64,
        LayerCount = 1,
        AttentionHeadCount = 4,
        KeyValueHeadCount = 2,
        HeadSize = 16,
        VocabularySize = 37,
        ContextLength = 128,
        NormEpsilon = 1e-5f,
        RopeTheta = 10000,
        TieWordEmbeddings = true,
        BeginOfSequence = 1,
        EndOfSequence = [2],
        StoredType = TensorElementType.BFloat16,
    };

    public static string Write(string path, ModelConfiguration configuration, float[]? head = null)
    {
        Directory.CreateDirectory(path);
        TensorDescription[] tensors =
        [
            .. ModelShapes.Enumerate(configuration).Select(tensor => new TensorDescription(
                tensor.Name, tensor.Name == ModelShapes.Head && head is not null ? TensorElementType.Float32 : TensorElementType.BFloat16, tensor.Shape)),
        ];
        using (var writer = SafetensorsWriter.Create(Path.Combine(path, "model.safetensors"), tensors))
        {
            foreach (var tensor in tensors)
            {
                var random = new Random(tensor.Name.Length);
                writer.WriteFloat32(tensor.Name, tensor.Name == ModelShapes.Head && head is not null ? head : Generators.Values(random, (int)tensor.ElementCount));
            }

            writer.Commit();
        }

        File.WriteAllText(Path.Combine(path, "config.json"), ConfigurationWriter.Write(configuration));
        return path;
    }

    public static string Prune(string dense, string output, string[] linears, Func<ArmorLayer, ArmorLayer>? change = null, TensorElementType type = TensorElementType.BFloat16)
    {
        using var source = CheckpointFolder.Open(dense);
        ArmorCheckpointWriter.Write(source, output, linears, type, linear =>
        {
            var shape = source.GetTensor(linear + ".weight").Shape;
            var layer = Generators.RandomLayer((int)shape[0], (int)shape[1], null, 64, 9).RoundedTo(TensorElementType.BFloat16);
            return change is null ? layer : change(layer);
        });
        return output;
    }

    /// <summary>Of every token of the prompt.</summary>
    public static float[] LogitsWith(string model, ArmorModelOptions options)
    {
        using var loaded = ArmorModel.Load(model, options);
        var logits = new float[Prompt.Length * loaded.Configuration.VocabularySize];
        loaded.ForwardLogits(Prompt, loaded.CreateSession(), logits);
        return logits;
    }

    public static double NormalisedError(float[] found, float[] expected)
        => found.Zip(expected, (one, other) => Math.Pow((double)one - other, 2)).Sum() / expected.Sum(value => (double)value * value);

    /// <summary>Bytes that fifty tokens allocate in a session with room for them.</summary>
    public static long AllocatedByTokens(string path, ArmorModelOptions options)
    {
        using var model = ArmorModel.Load(path, options);
        var session = model.CreateSession(Tied.ContextLength);
        var logits = new float[Tied.VocabularySize];

        // Beyond the first page of the cache, whose end makes attention's scratch memory grow.
        for (var i = 0; i < 70; i++)
        {
            model.ForwardLogits(Prompt.AsSpan(i % 7, 1), session, logits);
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 50; i++)
        {
            model.ForwardLogits(Prompt.AsSpan(i % 7, 1), session, logits);
        }

        return GC.GetAllocatedBytesForCurrentThread() - before;
    }

    /// <summary>A backend that says nothing of 8 bits.</summary>
    public sealed class PlainBackend : KernelBackend
    {
        private readonly ReferenceBackend _reference = new();

        public override string Name => "plain";

        protected override KernelWeight PackDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken)
            => _reference.PrepareDense(source, elementType, cancellationToken);

        protected override KernelWeight PackLayer(
            ArmorLayer layer, TensorElementType elementType, TensorElementType wrapperType, CancellationToken cancellationToken)
            => _reference.PrepareLayer(layer, elementType, wrapperType, cancellationToken);
    }
}
