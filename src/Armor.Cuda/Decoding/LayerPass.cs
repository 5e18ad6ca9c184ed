using Armor.Cuda.Kernels;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>What a pass is about: all that decides which kernels are queued, and how.</summary>
/// <param name="Rows">Number of tokens.</param>
/// <param name="FirstWanted">The first row of which something is wanted; rows before it end with the keys and values of the last layer.</param>
/// <param name="IsOneSequence">Whether all rows are neighbours in one sequence.</param>
internal readonly record struct PassShape(int Rows, int FirstWanted, bool IsOneSequence);

/// <summary>Queues the kernels of a pass: everything between tokens and the vectors that the head multiplies.</summary>
internal sealed class LayerPass : IDisposable
{
    private const uint HeadWarps = 4;
    private const uint Lanes = 32;
    private const uint NormThreads = 512;
    private const uint GateThreads = 256;

    private readonly ModelConfiguration _configuration;
    private readonly DeviceProduct _embedding;
    private readonly DeviceLayer[] _layers;
    private readonly DeviceVector _finalNorm;
    private readonly Activations _activations;
    private readonly PassInputs _inputs;
    private readonly CacheShape _cache;
    private readonly AttentionPass _attention;
    private readonly ExpertPass? _experts;

    /// <param name="run">Its card decides how products are cut.</param>
    /// <param name="configuration">The model.</param>
    /// <param name="weights">Prepared by this backend.</param>
    /// <param name="vectors">Take the norms and biases.</param>
    /// <param name="activations">Where vectors lie.</param>
    /// <param name="inputs">Tokens and positions of a pass.</param>
    /// <param name="cache">How keys and values lie.</param>
    public LayerPass(
        DeviceRun run, ModelConfiguration configuration, DecoderWeights weights, DeviceVectors vectors, Activations activations, PassInputs inputs, CacheShape cache)
    {
        _configuration = configuration;
        _embedding = ((CudaWeight)weights.Embedding).Product;
        _layers = [.. weights.Layers.Select(layer => new DeviceLayer(run, layer, vectors))];
        _finalNorm = vectors.Add(weights.FinalNorm);
        (_activations, _inputs, _cache) = (activations, inputs, cache);
        _attention = new AttentionPass(configuration, activations, inputs, cache);
        _experts = configuration.Experts is null ? null : new ExpertPass(run.Device, configuration, activations, inputs.MostRows);
    }

    /// <summary>Whether queueing needs nothing back from the card, so that a pass can be recorded.</summary>
    public bool IsRecordable => _experts is null;

    /// <inheritdoc/>
    public void Dispose() => _experts?.Dispose();

    /// <summary>Queues a pass; the final norm of the wanted rows lies at the start of <see cref="Activations.Normed"/> afterwards.</summary>
    public void Queue(DeviceRun run, PassShape shape, CancellationToken cancellationToken)
    {
        _embedding.Embed(run, _inputs.Rows, shape.Rows, _configuration.EmbeddingScale, _activations.Residual);
        Norm(run, 0, shape.Rows, default, default, _layers[0].AttentionNorm);
        for (var layer = 0; layer < _layers.Length; layer++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var own = _layers[layer];
            var isLast = layer == _layers.Length - 1;
            var first = isLast ? shape.FirstWanted : 0;
            var rows = shape.Rows - first;
            QueueHeads(run, layer, shape.Rows, first);
            if (rows > 0)
            {
                _attention.Queue(run, layer, shape, first);
                own.AttentionOutput.Product.Multiply(run, At(_activations.Context, first, _configuration.QuerySize), rows, _activations.Added);
                Norm(run, first, rows, own.AttentionOutput.Bias, own.AttentionOutputNorm, own.MlpNorm, isAdded: true);
                if (own.Experts is { } experts)
                {
                    _experts!.Queue(run, experts, rows, (mlp, from, count, to) => QueueMlp(run, mlp, from, count, to));
                }
                else
                {
                    QueueMlp(run, own.Mlp!, _activations.Normed, rows, _activations.Added);
                }

                Norm(run, first, rows, own.Mlp?.Down.Bias ?? default, own.MlpOutputNorm, isLast ? _finalNorm : _layers[layer + 1].AttentionNorm, isAdded: true);
            }
        }
    }

    private static nint At(nint start, int row, int size) => start + ((nint)row * size * sizeof(float));

    /// <summary>Queries, keys and values of the normed rows; keys and values go to the caches.</summary>
    private void QueueHeads(DeviceRun run, int layer, int rows, int firstQuery)
    {
        var own = _layers[layer];
        if (firstQuery == 0)
        {
            own.AttentionInputs.Multiply(run, _activations.Normed, rows, _activations.Queries, _activations.Keys, _activations.Values);
        }
        else
        {
            // The last layer of a prompt: few rows ask, all have to be there.
            own.Key.Product.Multiply(run, _activations.Normed, rows, _activations.Keys);
            own.Value.Product.Multiply(run, _activations.Normed, rows, _activations.Values);
            if (firstQuery < rows)
            {
                own.Query.Product.Multiply(
                    run, At(_activations.Normed, firstQuery, _configuration.HiddenSize), rows - firstQuery, At(_activations.Queries, firstQuery, _configuration.QuerySize));
            }
        }

        var heads = (uint)(_configuration.AttentionHeadCount + (2 * _configuration.KeyValueHeadCount));
        run.Launch(KernelNames.Heads(8 * _cache.ElementBytes), (heads + HeadWarps - 1) / HeadWarps, (uint)rows, 1, HeadWarps * Lanes, new HeadArguments
        {
            Queries = _activations.Queries,
            Keys = _activations.Keys,
            Values = _activations.Values,
            QueryBias = own.Query.Bias.Address,
            KeyBias = own.Key.Bias.Address,
            ValueBias = own.Value.Bias.Address,
            QueryNorm = own.QueryNorm.Address,
            KeyNorm = own.KeyNorm.Address,
            Rows = _inputs.Rows,
            Rotations = _inputs.Rotations(_configuration.HasLocalRotation(layer), rows),
            FirstQuery = firstQuery,
            Heads = _configuration.AttentionHeadCount,
            KeyHeads = _configuration.KeyValueHeadCount,
            Size = _configuration.HeadSize,
            Half = _configuration.RotarySize / 2,
            Stride = _cache.Stride,
            Layer = layer,
            Epsilon = _configuration.NormEpsilon,
        });
    }

    /// <summary>An MLP, but for the bias of its last linear.</summary>
    private void QueueMlp(DeviceRun run, DeviceMlp own, nint from, int rows, nint to)
    {
        own.Inputs.Multiply(run, from, rows, _activations.Gate, _activations.Up);
        var size = _configuration.IntermediateSize;
        run.Launch(KernelNames.Gate, ((uint)size + GateThreads - 1) / GateThreads, (uint)rows, 1, GateThreads, new GateArguments
        {
            Gate = _activations.Gate,
            Up = _activations.Up,
            GateBias = own.Gate.Bias.Address,
            UpBias = own.Up.Bias.Address,
            Size = size,
            IsGelu = _configuration.Activation == ActivationFunction.GeluTanh ? 1 : 0,
        });
        own.Down.Product.Multiply(run, _activations.Gate, rows, to);
    }

    /// <summary>Adds the first of what is to be added to some rows of the residual stream, where anything is, and norms them to the first normed vectors.</summary>
    private void Norm(DeviceRun run, int first, int rows, DeviceVector bias, DeviceVector addedNorm, DeviceVector norm, bool isAdded = false)
        => run.Launch(KernelNames.Norm, (uint)rows, 1, 1, NormThreads, new NormArguments
        {
            Residual = At(_activations.Residual, first, _configuration.HiddenSize),
            Added = isAdded ? _activations.Added : 0,
            Bias = bias.Address,
            AddedNorm = addedNorm.Address,
            Norm = norm.Address,
            Output = _activations.Normed,
            Size = _configuration.HiddenSize,
            Epsilon = _configuration.NormEpsilon,
        });
}
