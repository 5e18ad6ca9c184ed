using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>Grouped-query attention over the past, with an optional sliding window and soft cap.</summary>
internal static class CausalAttention
{
    private const long DefaultMostScores = 1 << 24;

    /// <summary>Softmax of the scaled q·kᵀ over the keys at or before each query's position, times the values.</summary>
    /// <param name="queries">[batch, heads, length, head size]; the last query stands at the position of the last key.</param>
    /// <param name="keys">[batch, key/value heads, key length, head size].</param>
    /// <param name="values">Like <paramref name="keys"/>.</param>
    /// <param name="window">Number of latest positions that a query sees, its own included; null for all.</param>
    /// <param name="scale">What q·kᵀ is multiplied by.</param>
    /// <param name="softCap">Scaled scores s become cap·tanh(s / cap); null for none.</param>
    /// <param name="mostScores">How many capped scores are in memory at once, if a single query's are not more.</param>
    /// <returns>[batch, heads, length, head size].</returns>
    public static Tensor Attend(
        Tensor queries, Tensor keys, Tensor values, int? window, double scale, double? softCap, long mostScores = DefaultMostScores)
    {
        using var scope = NewDisposeScope();
        var groups = queries.shape[1] / keys.shape[1];
        var (length, keyLength) = (queries.shape[2], keys.shape[2]);
        var isWindowed = window is { } size && size < keyLength;
        var isSquare = length == keyLength;
        var mask = isWindowed || (!isSquare && length > 1) ? Mask(length, keyLength, window, queries.device) : null;
        if (softCap is { } cap)
        {
            var seen = mask ?? Mask(length, keyLength, null, queries.device);
            return AttendCapped(queries, Repeat(keys, groups), Repeat(values, groups), seen, scale, cap, mostScores).MoveToOuterDisposeScope();
        }

        // The fused product has a scale of its own.
        var ratio = scale * Math.Sqrt(queries.shape[3]);
        return nn.functional.scaled_dot_product_attention(
            Math.Abs(ratio - 1) < 1e-12 ? queries : queries.Times(ratio),
            Repeat(keys, groups),
            Repeat(values, groups),
            mask,
            is_casual: mask is null && isSquare).MoveToOuterDisposeScope();
    }

    // The fused product knows no cap; some queries at a time, or the scores of a long sequence would fill the memory.
    private static Tensor AttendCapped(Tensor queries, Tensor keys, Tensor values, Tensor seen, double scale, double cap, long mostScores)
    {
        var length = queries.shape[2];
        var rows = Math.Clamp(mostScores / (queries.shape[0] * queries.shape[1] * keys.shape[2]), 1, length);
        var keysByColumn = keys.transpose(-2, -1);
        var parts = new List<Tensor>();
        for (long start = 0; start < length; start += rows)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(rows, length - start);
            var scores = queries.narrow(2, start, count).Times(scale / cap).matmul(keysByColumn).tanh().Times(cap);
            var wide = scores.to(scores.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32);
            var probabilities = where(seen.narrow(0, start, count), wide, zeros_like(wide).Plus(double.NegativeInfinity)).softmax(-1);
            parts.Add(probabilities.to(values.dtype).matmul(values).MoveToOuterDisposeScope());
        }

        return cat(parts, 2);
    }

    private static Tensor Repeat(Tensor heads, long groups)
    {
        if (groups == 1)
        {
            return heads;
        }

        var shape = heads.shape;
        return heads.unsqueeze(2).expand(shape[0], shape[1], groups, shape[2], shape[3]).reshape(shape[0], shape[1] * groups, shape[2], shape[3]);
    }

    /// <summary>[length, key length], true where the query may see the key.</summary>
    private static Tensor Mask(long length, long keyLength, int? window, Device device)
    {
        var query = TensorArithmetic.Integers(keyLength - length, keyLength, device).unsqueeze(1);
        var key = TensorArithmetic.Integers(0, keyLength, device).unsqueeze(0);
        var seen = key <= query;
        return window is { } size ? seen.logical_and(key > query.Plus(-size)) : seen;
    }
}
