using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>
/// Reads a verified checkpoint into the form that the forward pass uses: matrices prepared by the backend, norms and biases as float32. Every value
/// is checked to be finite. One matrix at a time is read, in pieces, so that loading takes little more memory than the loaded model.
/// </summary>
internal sealed class WeightReader(
    CheckpointFolder checkpoint, ArmorCheckpoint? armor, IKernelBackend backend, ArmorModelOptions options, CancellationToken cancellationToken)
{
    private const string WeightSuffix = ".weight";

    private readonly HashSet<string> _pruned = armor is null ? [] : [.. armor.PrunedLinears];
    private readonly List<KernelWeight> _prepared = [];
    private readonly LayerArrays _arrays = new();

    // Files are read on as many threads as multiply later.
    private readonly ParallelOptions _threads = new()
    {
        MaxDegreeOfParallelism = (backend as IThreadedBackend)?.Threads.Count ?? Environment.ProcessorCount, CancellationToken = cancellationToken,
    };


    /// <summary>Opens a dense or ARMOR folder, verifies it and reads it whole; nothing stays open but what the embedding's rows are read from.</summary>
    /// <exception cref="CheckpointException">A rule of the checkpoint is broken.</exception>
    /// <exception cref="NotSupportedException">The backend cannot multiply by a linear of the model, or a type is wanted for a head that is pruned.</exception>
    public static (ModelConfiguration Configuration, DecoderWeights Weights) Read(
        string folder, IKernelBackend backend, ArmorModelOptions options, CancellationToken cancellationToken)
    {
        if (ArmorCheckpoint.IsArmor(folder))
        {
            using var armor = ArmorCheckpoint.Open(folder);
            CheckpointVerification.Verify(armor);
            return (armor.Base.Configuration, new WeightReader(armor.Base, armor, backend, options, cancellationToken).ReadOrRelease());
        }

        using var checkpoint = CheckpointFolder.Open(folder);
        CheckpointVerification.Verify(checkpoint);
        return (checkpoint.Configuration, new WeightReader(checkpoint, null, backend, options, cancellationToken).ReadOrRelease());
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
        var (embedding, head) = configuration.TieWordEmbeddings ? ReadTied(rows, columns) : ReadSeparate(rows, columns);
        var prefixes = Enumerable.Range(0, configuration.LayerCount).Select(ModelShapes.LayerPrefix);
        var layers = prefixes.Select(prefix => ReadLayer(configuration, prefix)).ToArray();
        return new DecoderWeights
        {
            Embedding = embedding, Layers = layers, FinalNorm = ReadNorm(ModelShapes.FinalNorm), Head = new LinearWeight(head, null), Matrices = _prepared,
        };
    }

    /// <summary>Embedding and head of one weight: held once where that does for both, else the rows stay in their file.</summary>
    private (KernelWeight Embedding, KernelWeight Head) ReadTied(int rows, int columns)
    {
        var (source, held) = EmbeddingSource(rows, columns);
        var head = Prepare(ModelShapes.Embedding, () => backend.PrepareDense(source, options.HeadType ?? held, cancellationToken));
        if (options.HeadType is null || options.HeadType == held)
        {
            return (head, head);
        }

        // A backend that runs whole models looks rows up in its own memory; those that are made of factors have no file.
        return (source is CheckpointRows && backend is not IDecoderBackend
            ? Prepare(ModelShapes.Embedding, () => StoredWeight.Open(checkpoint, ModelShapes.Embedding))
            : Prepare(ModelShapes.Embedding, () => backend.PrepareDense(source, held, cancellationToken)), head);
    }

    private (KernelWeight Embedding, KernelWeight Head) ReadSeparate(int rows, int columns)
    {
        var (source, held) = EmbeddingSource(rows, columns);
        var embedding = Prepare(ModelShapes.Embedding, () => backend.PrepareDense(source, held, cancellationToken));
        var name = ModelShapes.Head[..^WeightSuffix.Length];
        if (options.HeadType is not { } type)
        {
            return (embedding, ReadLinear(name, rows, columns, hasBias: false).Weight);
        }

        if (_pruned.Contains(name))
        {
            throw new NotSupportedException($"{name} of {checkpoint.Folder} is pruned and held as it is stored: HeadType {type} is for a dense head.");
        }

        var head = new CheckpointRows(checkpoint, ModelShapes.Head, rows, columns);
        return (embedding, Prepare(ModelShapes.Head, () => backend.PrepareDense(head, type, cancellationToken)));
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
        var layer = armor!.ReadLayer(name, _arrays, _threads);
        var type = HeldAs(armor.ElementType);
        var weight = Prepare(name, () => backend.PrepareLayer(layer, type, options.WrapperType, cancellationToken));
        _arrays.Return();
        return new LinearWeight(weight, bias);
    }

    /// <summary>The embedding is read row by row, and so dense, and the type in which it is held.</summary>
    private (DenseWeightSource Source, TensorElementType HeldAs) EmbeddingSource(int rows, int columns)
    {
        var linear = ModelShapes.Embedding[..^WeightSuffix.Length];
        return _pruned.Contains(linear)
            ? (DenseWeightSource.FromMemory(armor!.ReadLayer(linear).ToDense(), rows, columns), HeldAs(armor.ElementType))
            : (new CheckpointRows(checkpoint, ModelShapes.Embedding, rows, columns), HeldAs(checkpoint.GetTensor(ModelShapes.Embedding).ElementType));
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
        => options.WeightType ?? (stored == TensorElementType.Float64 ? TensorElementType.Float32 : stored);

    private float[] ReadTensor(string name)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return checkpoint.ReadFiniteFloat32(name);
    }
}
