using Armor.Runtime.Generation.Attention;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>The decoder's forward pass over a kernel backend. Holds nothing that changes, so that any number of sessions may share it.</summary>
internal sealed class ForwardPass(ModelConfiguration configuration, DecoderWeights weights, IKernelThreads? threads)
{
    private readonly RotaryEmbedding _rotary = new(configuration);
    private readonly Stack<ForwardBuffers> _idle = [];
    private readonly Lock _lock = new();

    /// <summary>Buffers for one pass after another; to be returned.</summary>
    public ForwardBuffers Rent()
    {
        lock (_lock)
        {
            return _idle.Count > 0 ? _idle.Pop() : new ForwardBuffers(configuration, threads);
        }
    }

    /// <summary>Ends the use of buffers.</summary>
    public void Return(ForwardBuffers buffers)
    {
        lock (_lock)
        {
            _idle.Push(buffers);
        }
    }

    /// <summary>Runs tokens of one sequence or several through all layers, which adds their keys and values to the caches.</summary>
    /// <param name="tokens">At most <see cref="ForwardBuffers.MostRows"/>, each below the vocabulary size.</param>
    /// <param name="segments">Which sequence each token belongs to, in order; the caches have room for them.</param>
    /// <param name="firstWanted">
    /// The first row whose logits will be asked for, up to the number of tokens. Rows before it end with the keys and values of the last layer: all that
    /// comes after those serves a row's own logits only.
    /// </param>
    /// <param name="buffers">Holds the residual stream of the wanted rows after the last layer afterwards.</param>
    /// <param name="cancellationToken">Checked between layers.</param>
    public void Run(
        ReadOnlySpan<int> tokens, ReadOnlySpan<Segment> segments, int firstWanted, ForwardBuffers buffers, CancellationToken cancellationToken)
    {
        buffers.Reserve(tokens.Length);
        buffers.Attention.Start(segments);
        foreach (var segment in segments)
        {
            _rotary.ComputeRotations(isLocal: false, segment, buffers.Rotations);
            if (configuration.LocalRopeTheta is not null)
            {
                _rotary.ComputeRotations(isLocal: true, segment, buffers.LocalRotations);
            }
        }

        for (var row = 0; row < tokens.Length; row++)
        {
            var embedded = Row(buffers.Residual, row, configuration.HiddenSize);
            weights.Embedding.CopyRow(tokens[row], embedded);
            if (configuration.EmbeddingScale != 1)
            {
                RowMath.Scale(embedded, configuration.EmbeddingScale);
            }
        }

        for (var layer = 0; layer < configuration.LayerCount; layer++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var first = layer == configuration.LayerCount - 1 ? firstWanted : 0;
            StoreKeysAndValues(layer, segments, tokens.Length, buffers);
            if (first < tokens.Length)
            {
                if (first > 0)
                {
                    buffers.Attention.Start(segments, first);
                }

                AddAttention(layer, first, tokens.Length - first, buffers);
                AddFeedForward(weights.Layers[layer], first, tokens.Length - first, buffers);
            }
        }
    }

    /// <summary>The final norm and the head.</summary>
    /// <param name="firstRow">First row of the residual stream to take.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="buffers">As <see cref="Run"/> leaves them.</param>
    /// <param name="logits">[rows, vocabulary].</param>
    public void ComputeLogits(int firstRow, int rows, ForwardBuffers buffers, Span<float> logits)
    {
        var hidden = configuration.HiddenSize;
        Normalize(buffers.Residual.AsSpan(firstRow * hidden, rows * hidden), weights.FinalNorm, buffers.Normed);
        weights.Head.Multiply(buffers.Normed.AsSpan(0, rows * hidden), rows, logits);
        if (configuration.LogitSoftCap is { } cap)
        {
            RowMath.SoftCap(logits, cap);
        }
    }

    /// <summary>Norms the residual stream, and adds the rows' keys and values to the caches.</summary>
    private void StoreKeysAndValues(int layer, ReadOnlySpan<Segment> segments, int rows, ForwardBuffers buffers)
    {
        var own = weights.Layers[layer];
        var normed = buffers.Normed.AsSpan(0, rows * configuration.HiddenSize);
        var keys = buffers.Keys.AsSpan(0, rows * configuration.KeyValueSize);
        var values = buffers.Values.AsSpan(0, keys.Length);
        Normalize(buffers.Residual.AsSpan(0, normed.Length), own.AttentionNorm, normed);
        own.Key.Multiply(normed, rows, keys);
        own.Value.Multiply(normed, rows, values);
        NormalizeAndRotate(keys, own.KeyNorm, configuration.KeyValueHeadCount, 0, RotationsOf(layer, buffers));
        foreach (var segment in segments)
        {
            for (var i = 0; i < segment.Rows; i++)
            {
                var row = segment.FirstRow + i;
                segment.Cache.Store(
                    layer, segment.FirstPosition + i, Row(keys, row, configuration.KeyValueSize), Row(values, row, configuration.KeyValueSize));
            }
        }
    }

    /// <summary>Attention of some rows, whose norms are there.</summary>
    private void AddAttention(int layer, int first, int rows, ForwardBuffers buffers)
    {
        var own = weights.Layers[layer];
        var (hidden, querySize) = (configuration.HiddenSize, configuration.QuerySize);
        var queries = buffers.Queries.AsSpan(first * querySize, rows * querySize);
        var context = buffers.Context.AsSpan(first * querySize, rows * querySize);
        var added = buffers.Added.AsSpan(0, rows * hidden);
        own.Query.Multiply(buffers.Normed.AsSpan(first * hidden, rows * hidden), rows, queries);
        NormalizeAndRotate(queries, own.QueryNorm, configuration.AttentionHeadCount, first, RotationsOf(layer, buffers));
        buffers.Attention.Attend(layer, buffers.Queries, buffers.Context);
        own.AttentionOutput.Multiply(context, rows, added);
        AddNormed(added, own.AttentionOutputNorm, buffers.Residual.AsSpan(first * hidden, rows * hidden));
    }

    private void AddFeedForward(DecoderLayerWeights own, int first, int rows, ForwardBuffers buffers)
    {
        var residual = buffers.Residual.AsSpan(first * configuration.HiddenSize, rows * configuration.HiddenSize);
        var normed = buffers.Normed.AsSpan(0, residual.Length);
        var added = buffers.Added.AsSpan(0, residual.Length);
        Normalize(residual, own.MlpNorm, normed);
        own.FeedForward.Run(normed, rows, buffers, added);
        AddNormed(added, own.MlpOutputNorm, residual);
    }

    private RotationTable RotationsOf(int layer, ForwardBuffers buffers) =>
        configuration.HasLocalRotation(layer) ? buffers.LocalRotations : buffers.Rotations;

    /// <summary>Adds to the residual stream, through a norm where the family has one.</summary>
    private void AddNormed(Span<float> added, ReadOnlyMemory<float>? norm, Span<float> residual)
    {
        if (norm is { } weight)
        {
            Normalize(added, weight, added);
        }

        RowMath.Add(added, residual);
    }

    /// <summary>Norms every row of the weight's size.</summary>
    private void Normalize(ReadOnlySpan<float> input, ReadOnlyMemory<float> weight, Span<float> output)
    {
        for (var start = 0; start < input.Length; start += weight.Length)
        {
            RowMath.Normalize(input.Slice(start, weight.Length), weight.Span, configuration.NormEpsilon, output.Slice(start, weight.Length));
        }
    }

    /// <summary>[rows, heads × head size], in place; the first row is at <paramref name="firstRow"/> of the rotations.</summary>
    private void NormalizeAndRotate(Span<float> heads, ReadOnlyMemory<float>? norm, int headCount, int firstRow, RotationTable rotations)
    {
        if (norm is { } weight)
        {
            Normalize(heads, weight, heads);
        }

        var (size, half) = (configuration.HeadSize, configuration.RotarySize / 2);
        for (var index = 0; index < heads.Length / size; index++)
        {
            var row = firstRow + (index / headCount);
            RotaryEmbedding.Rotate(Row(heads, index, size)[..(2 * half)], Row(rotations.Cosines, row, half), Row(rotations.Sines, row, half));
        }
    }

    private static Span<float> Row(Span<float> values, int row, int size) => values.Slice(row * size, size);
}
