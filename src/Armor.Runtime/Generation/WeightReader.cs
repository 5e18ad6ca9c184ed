using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>
/// Reads a verified checkpoint into the form that the forward pass uses: pruned linears as their factors, all else as float32. Every value is
/// checked to be finite, and every linear to be something that the backend can multiply by.
/// </summary>
internal sealed class WeightReader(CheckpointFolder checkpoint, ArmorCheckpoint? armor, IKernelBackend backend, CancellationToken cancellationToken)
{
    private const string WeightSuffix = ".weight";

    private readonly HashSet<string> _pruned = armor is null ? [] : [.. armor.PrunedLinears];

    /// <summary>Opens a dense or ARMOR folder, verifies it and reads it whole; nothing stays open.</summary>
    /// <exception cref="CheckpointException">A rule of the checkpoint is broken.</exception>
    /// <exception cref="NotSupportedException">The backend cannot multiply by a linear of the model.</exception>
    public static (ModelConfiguration Configuration, DecoderWeights Weights) Read(
        string folder, IKernelBackend backend, CancellationToken cancellationToken)
    {
        if (ArmorCheckpoint.IsArmor(folder))
        {
            using var armor = ArmorCheckpoint.Open(folder);
            CheckpointVerification.Verify(armor);
            return (armor.Base.Configuration, new WeightReader(armor.Base, armor, backend, cancellationToken).Read());
        }

        using var checkpoint = CheckpointFolder.Open(folder);
        CheckpointVerification.Verify(checkpoint);
        return (checkpoint.Configuration, new WeightReader(checkpoint, null, backend, cancellationToken).Read());
    }

    private DecoderWeights Read()
    {
        var configuration = checkpoint.Configuration;
        var (rows, columns) = (configuration.VocabularySize, configuration.HiddenSize);
        var embedding = ReadMatrix(ModelShapes.Embedding);
        var prefixes = Enumerable.Range(0, configuration.LayerCount).Select(ModelShapes.LayerPrefix);
        var layers = prefixes.Select(prefix => ReadLayer(configuration, prefix)).ToArray();
        var head = configuration.TieWordEmbeddings
            ? Supported(new DenseLinear(embedding, rows, columns, null), ModelShapes.Embedding)
            : ReadLinear(ModelShapes.Head[..^WeightSuffix.Length], rows, columns, hasBias: false);
        return new DecoderWeights(embedding, layers, ReadNorm(ModelShapes.FinalNorm), head);
    }

    private DecoderLayerWeights ReadLayer(ModelConfiguration configuration, string prefix)
    {
        var linears = ModelShapes.Linears(configuration).ToDictionary(
            linear => linear.Name, linear => ReadLinear(prefix + linear.Name, linear.Rows, linear.Columns, linear.HasBias));
        return new DecoderLayerWeights
        {
            AttentionNorm = ReadNorm(prefix + ModelShapes.AttentionNorm),
            Query = linears[ModelShapes.Query],
            Key = linears[ModelShapes.Key],
            Value = linears[ModelShapes.Value],
            QueryNorm = configuration.QueryKeyNorm ? ReadNorm(prefix + ModelShapes.QueryNorm) : null,
            KeyNorm = configuration.QueryKeyNorm ? ReadNorm(prefix + ModelShapes.KeyNorm) : null,
            AttentionOutput = linears[ModelShapes.AttentionOutput],
            AttentionOutputNorm = configuration.HasOutputNorms ? ReadNorm(prefix + ModelShapes.AttentionOutputNorm) : null,
            MlpNorm = ReadNorm(prefix + ModelShapes.MlpNormOf(configuration)),
            FeedForward = ReadFeedForward(configuration, prefix, linears),
            MlpOutputNorm = configuration.HasOutputNorms ? ReadNorm(prefix + ModelShapes.MlpOutputNorm) : null,
        };
    }

    private FeedForward ReadFeedForward(ModelConfiguration configuration, string prefix, Dictionary<string, LinearWeight> linears)
    {
        if (configuration.Experts is not { } experts)
        {
            return Gated(null);
        }

        var name = prefix + ModelShapes.RouterOf(configuration);
        var router = ReadLinear(name[..^WeightSuffix.Length], experts.Count, configuration.HiddenSize, hasBias: false);
        return new MixtureOfExperts(experts, router, [.. Enumerable.Range(0, experts.Count).Select(expert => Gated(expert))]);

        GatedMlp Gated(int? expert)
        {
            var names = ModelShapes.FeedForward(configuration, expert);
            return new GatedMlp(configuration.Activation, linears[names.Gate], linears[names.Up], linears[names.Down]);
        }
    }

    private float[] ReadNorm(string name)
    {
        var weight = ReadTensor(name);
        return checkpoint.Configuration.HasUnitOffsetNorms ? Array.ConvertAll(weight, value => 1 + value) : weight;
    }

    private LinearWeight ReadLinear(string name, int rows, int columns, bool hasBias)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var bias = hasBias ? ReadTensor(name + ".bias") : null;
        return Supported(
            _pruned.Contains(name)
                ? new FactorisedLinear(armor!.ReadLayer(name), bias)
                : new DenseLinear(ReadTensor(name + WeightSuffix), rows, columns, bias),
            name);
    }

    /// <summary>A matrix that is read row by row, and so dense.</summary>
    private float[] ReadMatrix(string name)
    {
        var linear = name[..^WeightSuffix.Length];
        return _pruned.Contains(linear) ? armor!.ReadLayer(linear).ToDense() : ReadTensor(name);
    }

    private float[] ReadTensor(string name)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return checkpoint.ReadFiniteFloat32(name);
    }

    private LinearWeight Supported(LinearWeight linear, string name)
    {
        var support = linear.SupportedBy(backend);
        return support.IsSupported
            ? linear
            : throw new NotSupportedException($"The backend \"{backend.Name}\" cannot multiply by {name} of {checkpoint.Folder}: {support.Reason}");
    }
}
