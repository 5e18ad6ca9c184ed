using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation.Attention;
using Armor.Runtime.Generation.Sampling;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation.Decoding;

/// <summary>The forward pass in managed code: over any backend, whose products are all that it is asked for.</summary>
internal sealed class ManagedDecoder(ModelConfiguration configuration, DecoderWeights weights, IKernelThreads? threads, TensorElementType cacheType) : IDecoder
{
    private readonly ForwardPass _forward = new(configuration, weights, threads);

    public int MostRows => ForwardBuffers.MostRows;

    public IDecoderSequence CreateSequence() => new KeyValueCache(configuration, cacheType);

    public void CheckFits(long positions) => new KeyValueCache(configuration, cacheType).CheckFits(positions);

    public void Run(ReadOnlySpan<int> tokens, ReadOnlySpan<DecoderSegment> segments, DecoderOutput output, CancellationToken cancellationToken)
    {
        var buffers = _forward.Rent();
        try
        {
            buffers.Segments.Clear();
            foreach (var segment in segments)
            {
                buffers.Segments.Add(new Segment((KeyValueCache)segment.Sequence, segment.FirstPosition, segment.FirstRow, segment.Rows, segment.IsLong));
            }

            var rows = output.RowCount(configuration.VocabularySize);
            var first = tokens.Length - rows;
            _forward.Run(tokens, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(buffers.Segments), first, buffers, cancellationToken);
            if (output.Likeliest.Length > 0)
            {
                Choose(first, buffers, output.Likeliest);
            }
            else if (rows > 0)
            {
                _forward.ComputeLogits(first, rows, buffers, output.Logits);
            }
        }
        finally
        {
            _forward.Return(buffers);
        }
    }

    // The weights are the model's, and nothing else needs to be given back.
    public void Dispose()
    {
    }

    private void Choose(int firstRow, ForwardBuffers buffers, Span<int> likeliest)
    {
        var logits = buffers.ReserveLogits(likeliest.Length);
        _forward.ComputeLogits(firstRow, likeliest.Length, buffers, logits);
        for (var row = 0; row < likeliest.Length; row++)
        {
            likeliest[row] = TokenSampler.Likeliest(logits.Slice(row * configuration.VocabularySize, configuration.VocabularySize));
        }
    }
}
