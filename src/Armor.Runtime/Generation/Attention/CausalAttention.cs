using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation.Attention;

/// <summary>
/// Grouped-query attention of the rows of a pass to the past of their sequences, with an optional sliding window and soft cap. Some rows and all query
/// heads of a key/value head go together through each page of keys and values. A part of the work is such a block with one key/value head; what a row
/// gets does not depend on the rows beside it, nor on the number of threads.
/// </summary>
internal sealed unsafe class CausalAttention(ModelConfiguration configuration, IKernelThreads? threads) : IParallelWork
{
    // Queries that share a page; the page is read once for all of them.
    private const int MostQueries = 32;

    // Scores in memory at once, if a single row's are not more.
    private const int MostScores = 1 << 22;

    private readonly int _group = configuration.AttentionHeadCount / configuration.KeyValueHeadCount;
    private readonly List<Segment> _blocks = [];
    private float[][] _scratch = [];
    private float[] _queries = [];
    private float[] _context = [];
    private int _layer;
    private int _window;

    /// <summary>Prepares for the rows of a pass.</summary>
    /// <param name="segments">The rows; room for them is in the caches.</param>
    /// <param name="firstRow">The first row that attends.</param>
    public void Start(ReadOnlySpan<Segment> segments, int firstRow = 0)
    {
        _blocks.Clear();
        long scratch = 0;
        foreach (var segment in segments)
        {
            var most = (int)Math.Clamp(
                MostScores / ((long)_group * (segment.FirstPosition + segment.Rows)), 1, Math.Max(1, MostQueries / _group));
            for (var row = Math.Max(0, firstRow - segment.FirstRow); row < segment.Rows; row += most)
            {
                var block = segment with
                {
                    FirstPosition = segment.FirstPosition + row,
                    FirstRow = segment.FirstRow + row,
                    Rows = Math.Min(most, segment.Rows - row),
                };
                _blocks.Add(block);
                scratch = Math.Max(scratch, ScratchOf(block, LastPage(block) + 1).Total);
            }
        }

        if (scratch > Array.MaxLength)
        {
            throw new InsufficientMemoryException($"The scores of one position need {scratch} elements, and an array has at most {Array.MaxLength}.");
        }

        var parts = Math.Min(threads?.Count ?? 1, _blocks.Count * configuration.KeyValueHeadCount);
        if (_scratch.Length < parts)
        {
            Array.Resize(ref _scratch, parts);
        }

        for (var part = 0; part < _scratch.Length; part++)
        {
            if (_scratch[part] is null || _scratch[part].Length < scratch)
            {
                // Half as much again: the past grows with every token.
                _scratch[part] = new float[Math.Min(Array.MaxLength, scratch + (scratch / 2))];
            }
        }
    }

    /// <summary>For every query: softmax of the scaled q·kᵀ over what it sees, times the values.</summary>
    /// <param name="layer">Whose keys and values, those of the rows included, are in the caches.</param>
    /// <param name="queries">[rows, heads × head size].</param>
    /// <param name="context">Like <paramref name="queries"/>.</param>
    public void Attend(int layer, float[] queries, float[] context)
    {
        (_layer, _queries, _context) = (layer, queries, context);
        _window = configuration.SlidingWindowOf(layer) ?? int.MaxValue;
        if (threads is null || _scratch.Length == 1)
        {
            ((IParallelWork)this).Run(0, 1);
        }
        else
        {
            threads.Run(this, Math.Min(_scratch.Length, _blocks.Count * configuration.KeyValueHeadCount));
        }
    }

    void IParallelWork.Run(int part, int parts)
    {
        var heads = configuration.KeyValueHeadCount;
        for (var item = part; item < _blocks.Count * heads; item += parts)
        {
            Attend(_blocks[item / heads], item % heads, _scratch[part]);
        }
    }

    private static int LastPage(Segment block) => (block.FirstPosition + block.Rows - 1) / KeyValueCache.PagePositions;

    /// <summary>How the scratch memory is divided, in elements.</summary>
    private (int Queries, int Context, int Page, long Total) ScratchOf(Segment block, int pages)
    {
        var queries = block.Rows * _group * configuration.HeadSize;
        var context = block.Rows * _group * block.Cache.ValueStride;
        var page = block.Cache.ScratchSize;
        return (queries, context, page, queries + context + page + ((long)block.Rows * _group * pages * KeyValueCache.PagePositions));
    }

    private void Attend(Segment block, int head, float[] scratch)
    {
        var (cache, size) = (block.Cache, configuration.HeadSize);
        var count = block.Rows * _group;
        var firstSeen = FirstSeen(block.FirstPosition);
        var firstPage = firstSeen / KeyValueCache.PagePositions;
        var pages = LastPage(block) - firstPage + 1;
        var origin = firstPage * KeyValueCache.PagePositions;
        var end = block.FirstPosition + block.Rows;
        var stride = pages * KeyValueCache.PagePositions;
        var parts = ScratchOf(block, pages);
        fixed (float* memory = scratch)
        {
            var queries = memory;
            var context = queries + parts.Queries;
            var page = context + parts.Context;
            var scores = page + parts.Page;
            CopyQueries(block, head, new Span<float>(queries, parts.Queries));
            for (var i = 0; i < pages; i++)
            {
                var keys = cache.Keys(_layer, head, firstPage + i, page);
                var target = scores + (i * KeyValueCache.PagePositions);
                var next = !cache.IsReadInPlace ? keys
                    : i + 1 < pages ? cache.Keys(_layer, head, firstPage + i + 1, page) : cache.Values(_layer, head, firstPage, page);
                BlockProduct.Multiply(
                    queries, size, keys, KeyValueCache.PagePositions, target, stride, count, size, KeyValueCache.PagePositions, adds: false, next);
            }

            for (var row = 0; row < block.Rows; row++)
            {
                var (from, to) = (FirstSeen(block.FirstPosition + row) - origin, block.FirstPosition + row + 1 - origin);
                for (var query = row * _group; query < (row + 1) * _group; query++)
                {
                    SoftmaxOfSeen(new Span<float>(scores + (query * (nint)stride), stride), from, to);
                }
            }

            new Span<float>(context, parts.Context).Clear();
            for (var i = 0; i < pages; i++)
            {
                var start = (firstPage + i) * KeyValueCache.PagePositions;
                var (from, to) = (Math.Max(start, firstSeen), Math.Min(start + KeyValueCache.PagePositions, end));
                var values = cache.Values(_layer, head, firstPage + i, page) + ((nint)(from - start) * cache.ValueStride);
                var next = cache.IsReadInPlace && i + 1 < pages ? cache.Values(_layer, head, firstPage + i + 1, page) : values;
                BlockProduct.Multiply(
                    scores + (from - origin), stride, values, cache.ValueStride, context, cache.ValueStride, count, to - from, cache.ValueStride, adds: true, next);
            }

            CopyContext(block, head, new ReadOnlySpan<float>(context, parts.Context));
        }
    }

    private int FirstSeen(int position) => Math.Max(0, position - _window + 1);

    private void SoftmaxOfSeen(Span<float> scores, int from, int to)
    {
        var seen = scores[from..to];
        if (configuration.AttentionSoftCap is { } cap)
        {
            RowMath.SoftCap(seen, cap);
        }

        RowMath.Softmax(seen);
        scores[..from].Clear();
        scores[to..].Clear();
    }

    /// <summary>Scaled, [rows × group, head size].</summary>
    private void CopyQueries(Segment block, int head, Span<float> target)
    {
        var length = _group * configuration.HeadSize;
        for (var row = 0; row < block.Rows; row++)
        {
            _queries.AsSpan(((block.FirstRow + row) * configuration.QuerySize) + (head * length), length).CopyTo(target[(row * length)..]);
        }

        RowMath.Scale(target, (float)configuration.AttentionScale);
    }

    private void CopyContext(Segment block, int head, ReadOnlySpan<float> source)
    {
        var (size, stride) = (configuration.HeadSize, block.Cache.ValueStride);
        for (var query = 0; query < block.Rows * _group; query++)
        {
            var start = ((block.FirstRow + (query / _group)) * configuration.QuerySize) + (((head * _group) + (query % _group)) * size);
            source.Slice(query * stride, size).CopyTo(_context.AsSpan(start, size));
        }
    }
}
