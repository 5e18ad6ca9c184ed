using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>
/// Reads a verified checkpoint into the form that the forward pass uses: matrices prepared by the backend, norms and biases as float32. Every value
/// is checked to be finite. One matrix at a time is read, in pieces, so that loading takes little more memory than the loaded model.
/// </summary>
internal sealed class WeightReader(
    CheckpointFolder checkpoint, ArmorCheckpoint? armor, IKernelBackend backend, TensorElementType? weightType, CancellationToken cancellationToken)
{
    private const string WeightSuffix = ".weight";

    private readonly HashSet<string> _pruned = armor is null ? [] : [.. armor.PrunedLinears];
    private readonly List<KernelWeight> _prepared = [];
    private readonly LayerArrays _arrays = new();

    /// <summary>Opens a dense or ARMOR folder, verifies it and reads it whole; nothing stays open.</summary>
    /// <exception cref="CheckpointException">A rule of the checkpoint is broken.</exception>
    /// <exception cref="NotSupportedException">The backend cannot multiply by a linear of the model.</exception>
    public static (ModelConfiguration Configuration, DecoderWeights Weights) Read(
        string folder, IKernelBackend backend, TensorElementType? weightType, CancellationToken cancellationToken)
    {
        if (ArmorCheckpoint.IsArmor(folder))
        {
            using var armor = ArmorCheckpoint.Open(folder);
            CheckpointVerification.Verify(armor);
            return (armor.Base.Configuration, new WeightReader(armor.Base, armor, backend, weightType, cancellationToken).ReadOrRelease());
        }

        using var checkpoint = CheckpointFolder.Open(folder);
        CheckpointVerification.Verify(checkpoint);
        return (checkpoint.Configuration, new WeightReader(checkpoint, null, backend, weightType, cancellationToken).ReadOrRelease());
    }

    private DecoderWeights ReadOrRelease()
    {
        try
        {
            return Read();
        }
        catch
        {
            _prepared.ForEach(weight => weight.Dispose());
            throw;
        }
    }

    private DecoderWeights Read()
    {
        var configuration = checkpoint.Configuration;
        var (rows, columns) = (configuration.VocabularySize, configuration.HiddenSize);
        var embedding = ReadEmbedding(rows, columns);
        var prefixes = Enumerable.Range(0, configuration.LayerCount).Select(ModelShapes.LayerPrefix);
        var layers = prefixes.Select(prefix => ReadLayer(configuration, prefix)).ToArray();
        var head = configuration.TieWordEmbeddings
            ? new LinearWeight(embedding, null)
            : ReadLinear(ModelShapes.Head[..^WeightSuffix.Length], rows, columns, hasBias: false);
        return new DecoderWeights { Embedding = embedding, Layers = layers, FinalNorm = ReadNorm(ModelShapes.FinalNorm), Head = head, Matrices = _prepared };
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
            QueryNorm = ReadNorm(configuration.QueryKeyNorm, prefix + ModelShapes.QueryNorm),
            KeyNorm = ReadNorm(configuration.QueryKeyNorm, prefix + ModelShapes.KeyNorm),
            AttentionOutput = linears[ModelShapes.AttentionOutput],
            AttentionOutputNorm = ReadNorm(configuration.HasOutputNorms, prefix + ModelShapes.AttentionOutputNorm),
            MlpNorm = ReadNorm(prefix + ModelShapes.MlpNormOf(configuration)),
            FeedForward = ReadFeedForward(configuration, prefix, linears),
            MlpOutputNorm = ReadNorm(configuration.HasOutputNorms, prefix + ModelShapes.MlpOutputNorm),
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

    private ReadOnlyMemory<float>? ReadNorm(bool isThere, string name) => isThere ? ReadNorm(name) : (ReadOnlyMemory<float>?)null;

    private float[] ReadNorm(string name)
    {
        var weight = ReadTensor(name);
        return checkpoint.Configuration.HasUnitOffsetNorms ? Array.ConvertAll(weight, value => 1 + value) : weight;
    }

    private LinearWeight ReadLinear(string name, int rows, int columns, bool hasBias)
    {
        var bias = hasBias ? ReadTensor(name + ".bias") : (ReadOnlyMemory<float>?)null;
        if (!_pruned.Contains(name))
        {
            return new LinearWeight(Prepare(name + WeightSuffix, rows, columns), bias);
        }

        cancellationToken.ThrowIfCancellationRequested();
        var layer = armor!.ReadLayer(name, _arrays);
        var type = HeldAs(armor.ElementType);
        var weight = Prepare(name, () => backend.PrepareLayer(layer, type, cancellationToken));
        _arrays.Return();
        return new LinearWeight(weight, bias);
    }

    /// <summary>The embedding is read row by row, and so dense.</summary>
    private KernelWeight ReadEmbedding(int rows, int columns)
    {
        var linear = ModelShapes.Embedding[..^WeightSuffix.Length];
        if (!_pruned.Contains(linear))
        {
            return Prepare(ModelShapes.Embedding, rows, columns);
        }

        var source = DenseWeightSource.FromMemory(armor!.ReadLayer(linear).ToDense(), rows, columns);
        return Prepare(linear, () => backend.PrepareDense(source, HeldAs(armor.ElementType), cancellationToken));
    }

    private KernelWeight Prepare(string tensor, int rows, int columns)
    {
        var type = HeldAs(checkpoint.GetTensor(tensor).ElementType);
        return Prepare(tensor, () => backend.PrepareDense(new CheckpointRows(checkpoint, tensor, rows, columns), type, cancellationToken));
    }

    private KernelWeight Prepare(string name, Func<KernelWeight> prepare)
    {
        cancellationToken.ThrowIfCancellationRequested();
        try
        {
            var weight = prepare();
            _prepared.Add(weight);
            return weight;
        }
        catch (NotSupportedException exception)
        {
            throw new NotSupportedException(
                $"The backend \"{backend.Name}\" cannot multiply by {name} of {checkpoint.Folder}: {exception.Message}", exception);
        }
    }

    private TensorElementType HeldAs(TensorElementType stored)
        => weightType ?? (stored == TensorElementType.Float64 ? TensorElementType.Float32 : stored);

    private float[] ReadTensor(string name)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return checkpoint.ReadFiniteFloat32(name);
    }
}
