using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Core.Pruning;

/// <summary>
/// Rounds a layer to its storage type. Where the values of a core leave the type's range, or would lose most of their digits below it, powers of two
/// move between each row of S and its column of A: A·S·B stays the same.
/// </summary>
internal static class StorageRange
{
    // Largest values of a row of S aimed at, and how far a column of A, of unit norm, may go from 1 in a type of five bits of exponent.
    private const int MostUp = 14;
    private const int MostDown = -10;

    // A share of a row's squared norm that rounding to eleven bits never takes.
    private const double NormalLoss = 1e-5;

    /// <summary>The layer in the type, and what had to be done; null where it fitted.</summary>
    /// <param name="layer">Float32 factors.</param>
    /// <param name="type">The storage type.</param>
    /// <param name="coreType">I8 for a quantised core, whose scales reach as far as float32; null for one of the storage type.</param>
    /// <returns>The rounded layer; its values may still not be finite where even this did not help.</returns>
    public static (ArmorLayer Layer, string? Note) Round(ArmorLayer layer, TensorElementType type, TensorElementType? coreType = null)
    {
        ArmorLayer rounded = layer.RoundedTo(type, coreType);
        if ((coreType ?? type) != TensorElementType.Float16 || Fits(layer.Core, rounded.Core))
        {
            return (rounded, null);
        }

        // Without A there is a diagonal one.
        int block = layer.OutputWrapper?.BlockSize ?? 1;
        float[] a = layer.OutputWrapper?.Values.ToArray() ?? [.. Enumerable.Repeat(1f, layer.Rows)];
        float[] s = layer.Core.Values.ToArray();
        int perRow = layer.Core.RowValueCount;
        for (int row = 0; row < layer.Rows; row++)
        {
            Span<float> values = s.AsSpan(row * perRow, perRow);
            float largest = 0;
            foreach (float value in values)
            {
                largest = Math.Max(largest, Math.Abs(value));
            }

            int exponent = largest > 0 && float.IsFinite(largest) ? Math.Clamp(Math.ILogB(largest), MostDown, MostUp) : 0;
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = MathF.ScaleB(values[i], -exponent);
            }

            for (int i = 0; i < block; i++)
            {
                ref float entry = ref a[(row / block * block * block) + (i * block) + (row % block)];
                entry = MathF.ScaleB(entry, exponent);
            }
        }

        var core = new SparseCore(layer.Rows, layer.Columns, s, layer.Core.Mask.ToArray(), layer.Core.Pattern);
        var moved = new ArmorLayer(new BlockDiagonalMatrix(layer.Rows / block, block, a), core, layer.InputWrapper);
        return (moved.RoundedTo(type), $"Values beyond {type} were scaled by powers of two, which the output wrapper takes back.");
    }

    private static bool Fits(SparseCore core, SparseCore rounded)
    {
        for (int row = 0; row < core.Rows; row++)
        {
            ReadOnlySpan<float> exact = core.RowValues(row);
            ReadOnlySpan<float> found = rounded.RowValues(row);
            double lost = 0;
            double norm = 0;
            for (int i = 0; i < exact.Length; i++)
            {
                lost += Math.Pow((double)exact[i] - found[i], 2);
                norm += (double)exact[i] * exact[i];
            }

            if (!(lost <= NormalLoss * norm))
            {
                return false;
            }
        }

        return true;
    }
}
