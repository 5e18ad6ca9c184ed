using Armor.Cuda.Kernels;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>What a pass is about: all that decides which kernels are queued, and how.</summary>
/// <param name="Rows">Number of tokens.</param>
/// <param name="FirstWanted">The first row of which something is wanted; rows before it end with the keys and values of the last layer.</param>
/// <param name="IsOneSequence">Whether all rows are neighbours in one sequence.</param>
internal readonly record struct PassShape(int Rows, int FirstWanted, bool IsOneSequence);

/// <summary>
/// Queues the kernels of a pass: everything between tokens and the vectors that the head multiplies. Where rows are few and the products allow it, a half layer's last
/// product adds to the residual stream itself and leaves sums of squares, and whoever reads the stream next norms it on the way; else the norm has a launch.
/// </summary>
internal sealed class LayerPass : IDisposable
{
    private const uint HeadWarps = 4;
    private const uint Lanes = 32;
    private const uint NormThreads = 512;
    private const uint GateThreads = 256;

    private readonly ModelConfiguration _configuration;
    private readonly DeviceProduct _embedding;
    private readonly DeviceLayer[] _layers;
    private readonly DeviceProduct _head;
    private readonly DeviceVector _finalNorm;
    private readonly Activations _activations;
    private readonly PassInputs _inputs;
    private readonly CacheShape _cache;
    private readonly AttentionPass _attention;
    private readonly ExpertPass? _experts;
    private readonly ChosenExperts? _chosen;

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
        _head = ((CudaWeight)weights.Head.Weight).Product;
        _layers = new DeviceLayer[weights.Layers.Count];
        (_activations, _inputs, _cache) = (activations, inputs, cache);
        _attention = new AttentionPass(configuration, activations, inputs, cache);
        try
        {
            for (var i = 0; i < _layers.Length; i++)
            {
                _layers[i] = new DeviceLayer(run, weights.Layers[i], configuration.Experts?.PerToken ?? 0, vectors);
            }

            _finalNorm = vectors.Add(weights.FinalNorm);
            if (configuration.Experts is not null)
            {
                IsRecordable = Array.TrueForAll(_layers, layer => layer.Experts is null or { Outputs: not null });
                _chosen = new ChosenExperts(run.Device, configuration, activations, inputs.MostRows);
                _experts = IsRecordable ? null : new ExpertPass(run.Device, configuration, activations, inputs.MostRows);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Whether queueing needs nothing back from the card, so that a pass can be recorded.</summary>
    public bool IsRecordable { get; } = true;

    /// <inheritdoc/>
    public void Dispose()
    {
        Array.ForEach(_layers, layer => layer?.Dispose());
        _chosen?.Dispose();
        _experts?.Dispose();
    }

    /// <summary>Queues a pass.</summary>
    /// <returns>What the head multiplies for the wanted rows, the first of them first.</returns>
    public ProductInput Queue(DeviceRun run, PassShape shape, CancellationToken cancellationToken)
    {
        _embedding.Embed(run, _inputs.Rows, shape.Rows, _configuration.EmbeddingScale, _activations.Residual);
        Norm(run, 0, shape.Rows, default, default, _layers[0].AttentionNorm);
        var input = new ProductInput(_activations.Normed);
        for (var layer = 0; layer < _layers.Length; layer++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var own = _layers[layer];
            var isLast = layer == _layers.Length - 1;
            var first = isLast ? shape.FirstWanted : 0;
            var rows = shape.Rows - first;
            QueueHeads(run, layer, input, shape.Rows, first);
            if (rows == 0)
            {
                continue;
            }

            _attention.Queue(run, layer, shape, first);
            var addsOnTheWay = rows <= RecordedPasses.MostRows && first == 0;
            var context = new ProductInput(At(_activations.Context, first, _configuration.QuerySize));
            input = addsOnTheWay && own.Mlp is { } next && next.Inputs.TakesAnyInput(rows)
                ? Add(run, own.AttentionOutput, context, rows, own.AttentionOutputNorm, own.MlpNorm)
                : AddAndNorm(run, own.AttentionOutput, context, first, rows, own.AttentionOutputNorm, own.MlpNorm);
            var norm = isLast ? _finalNorm : _layers[layer + 1].AttentionNorm;
            if (own.Experts is { } experts)
            {
                if (experts.Outputs is not null)
                {
                    _chosen!.Queue(run, experts, rows);
                }
                else
                {
                    _experts!.Queue(run, experts, rows, (mlp, from, count, to) => Queue(run, mlp.Down.Product, QueueGateAndUp(run, mlp, new ProductInput(from), count), count, to));
                }

                input = Norm(run, first, rows, default, own.MlpOutputNorm, norm, isAdded: true);
            }
            else
            {
                var gated = QueueGateAndUp(run, own.Mlp!, input, rows);
                input = addsOnTheWay && (isLast ? _head.TakesAnyInput(rows) : _layers[layer + 1].AttentionInputs.TakesAnyInput(rows))
                    ? Add(run, own.Mlp!.Down, gated, rows, own.MlpOutputNorm, norm)
                    : AddAndNorm(run, own.Mlp!.Down, gated, first, rows, own.MlpOutputNorm, norm);
            }
        }

        return input;
    }

    /// <summary>Queues a product by an input that is made on the way only where the product takes such.</summary>
    public static void Queue(DeviceRun run, DeviceProduct product, ProductInput input, int rows, nint output)
    {
        if (product.TakesAnyInput(rows))
        {
            ((FragmentProduct)product).Multiply(run, input, rows, output);
        }
        else
        {
            product.Multiply(run, input.Address, rows, output);
        }
    }

    private static nint At(nint start, int row, int size) => start + ((nint)row * size * sizeof(float));

    /// <summary>Queries, keys and values of the rows; keys and values go to the caches.</summary>
    private void QueueHeads(DeviceRun run, int layer, ProductInput input, int rows, int firstQuery)
    {
        var own = _layers[layer];
        if (firstQuery == 0)
        {
            own.AttentionInputs.Multiply(run, input, rows, _activations.Queries, _activations.Keys, _activations.Values);
        }
        else
        {
            // The last layer of a prompt: few rows ask, all have to be there.
            Queue(run, own.Key.Product, input, rows, _activations.Keys);
            Queue(run, own.Value.Product, input, rows, _activations.Values);
            if (firstQuery < rows)
            {
                Queue(
                    run, own.Query.Product, input.From(firstQuery, _configuration.HiddenSize), rows - firstQuery,
                    At(_activations.Queries, firstQuery, _configuration.QuerySize));
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

    /// <summary>Gate and up of an MLP.</summary>
    /// <returns>What down multiplies: the activation is applied on the way where rows are few, since each warp that reads them does so anew.</returns>
    private ProductInput QueueGateAndUp(DeviceRun run, DeviceMlp own, ProductInput input, int rows)
    {
        own.Inputs.Multiply(run, input, rows, _activations.Gate, _activations.Up);
        var (size, isGelu) = (_configuration.IntermediateSize, _configuration.Activation == ActivationFunction.GeluTanh);
        if (rows <= RecordedPasses.MostRows && own.Down.Product.TakesAnyInput(rows))
        {
            return new ProductInput(_activations.Gate) { Up = _activations.Up, GateBias = own.Gate.Bias.Address, UpBias = own.Up.Bias.Address, IsGelu = isGelu };
        }

        run.Launch(KernelNames.Gate, ((uint)size + GateThreads - 1) / GateThreads, (uint)rows, 1, GateThreads, new GateArguments
        {
            Gate = _activations.Gate,
            Up = _activations.Up,
            GateBias = own.Gate.Bias.Address,
            UpBias = own.Up.Bias.Address,
            Size = size,
            IsGelu = isGelu ? 1 : 0,
        });
        return new ProductInput(_activations.Gate);
    }

    /// <summary>Adds a linear's results to the residual stream as they come, where the linear can and nothing is between.</summary>
    private ProductInput Add(DeviceRun run, DeviceLinear linear, ProductInput input, int rows, DeviceVector addedNorm, DeviceVector norm)
    {
        if (addedNorm.Address != 0 || !linear.Product.AddsToOutput(rows))
        {
            return AddAndNorm(run, linear, input, 0, rows, addedNorm, norm);
        }

        ((FragmentProduct)linear.Product).Multiply(run, input, rows, _activations.Residual, new ProductSum(_activations.Squares, linear.Bias.Address));
        return new ProductInput(_activations.Residual) { Norm = norm.Address, Squares = _activations.Squares, Epsilon = _configuration.NormEpsilon };
    }

    /// <summary>Adds a linear's results to the residual stream, and norms that, in a launch of its own.</summary>
    private ProductInput AddAndNorm(DeviceRun run, DeviceLinear linear, ProductInput input, int first, int rows, DeviceVector addedNorm, DeviceVector norm)
    {
        Queue(run, linear.Product, input, rows, _activations.Added);
        return Norm(run, first, rows, linear.Bias, addedNorm, norm, isAdded: true);
    }

    /// <summary>Adds the first of what is to be added to some rows of the residual stream, where anything is, and norms them to the first normed vectors.</summary>
    private ProductInput Norm(DeviceRun run, int first, int rows, DeviceVector bias, DeviceVector addedNorm, DeviceVector norm, bool isAdded = false)
    {
        run.Launch(KernelNames.Norm, (uint)rows, 1, 1, NormThreads, new NormArguments
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
        return new ProductInput(_activations.Normed);
    }
}
