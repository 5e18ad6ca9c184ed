using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>Grouped-query attention of one position to the past, with an optional sliding window and soft cap.</summary>
internal static class CausalAttention
{
    /// <summary>For every head: softmax of the scaled q·kᵀ over the keys given, times the values.</summary>
    /// <param name="configuration">The sizes.</param>
    /// <param name="queries">[heads × head size].</param>
    /// <param name="keys">[positions, key/value heads × head size]: all that the query sees, and no more.</param>
    /// <param name="values">Like <paramref name="keys"/>.</param>
    /// <param name="scores">Scratch, [positions].</param>
    /// <param name="context">[heads × head size].</param>
    public static void Attend(
        ModelConfiguration configuration,
        ReadOnlySpan<float> queries,
        ReadOnlySpan<float> keys,
        ReadOnlySpan<float> values,
        Span<float> scores,
        Span<float> context)
    {
        var size = configuration.HeadSize;
        var row = configuration.KeyValueSize;
        var group = configuration.AttentionHeadCount / configuration.KeyValueHeadCount;
        var scale = (float)configuration.AttentionScale;
        for (var head = 0; head < configuration.AttentionHeadCount; head++)
        {
            var query = queries.Slice(head * size, size);
            var column = head / group * size;
            for (var position = 0; position < scores.Length; position++)
            {
                scores[position] = DotProduct.Compute(query, keys.Slice((position * row) + column, size)) * scale;
            }

            if (configuration.AttentionSoftCap is { } cap)
            {
                RowMath.SoftCap(scores, cap);
            }

            RowMath.Softmax(scores);
            var output = context.Slice(head * size, size);
            output.Clear();
            for (var position = 0; position < scores.Length; position++)
            {
                RowMath.AddScaled(scores[position], values.Slice((position * row) + column, size), output);
            }
        }
    }
}
