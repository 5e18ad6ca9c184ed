using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Armor.Core.Pruning.SparseCores.Lanes;

namespace Armor.Core.Pruning.SparseCores.Patterns;

/// <summary>Chooses the mask of one group, and its values: the gains |L⁻¹·f_m|² of all masks, eight side by side.</summary>
internal static unsafe class GroupChoice
{
    /// <summary>Room that <c>f</c> needs.</summary>
    public const int PaddedGroup = 16;

    private const float UnitOfHighBits = 1f / 65536;

    /// <summary>The mask with the largest gain, less noise; −1 where no gain is a number.</summary>
    /// <param name="table">The pattern's masks.</param>
    /// <param name="f">What the kept values have to explain [M], with zeros up to sixteen.</param>
    /// <param name="coefficients">The group's inverses, see <see cref="GroupInverses"/>.</param>
    /// <param name="noise">Noise, its bound divided by P_rr.</param>
    /// <param name="random">The random states; used and moved on where there is noise.</param>
    /// <param name="gain">The chosen mask's gain, less its noise.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static int Best(
        MaskTable table, float* f, float* coefficients, AnnealingNoise noise, ref Vector256<float> random, out float gain)
    {
        int kept = table.Pattern.Kept;
        bool wide = table.Pattern.Group > MaskTable.Lanes;
        bool noisy = noise.Relative > 0;
        Vector256<float> low = Vector256.Load(f);
        Vector256<float> high = Vector256.Load(f + MaskTable.Lanes);
        Vector256<float>* picked = stackalloc Vector256<float>[kept];
        Vector256<float> best = Vector256.Create(float.NegativeInfinity);
        Vector256<int> bestVector = Vector256.Create(-1);
        fixed (int* indices = table.Indices)
        {
            int* index = indices;
            for (int vector = 0; vector < table.Vectors; vector++)
            {
                for (int k = 0; k < kept; k++, index += MaskTable.Lanes)
                {
                    picked[k] = Pick(low, high, Vector256.Load(index), wide);
                }

                Vector256<float> gains = Vector256<float>.Zero;
                for (int i = 0; i < kept; i++)
                {
                    Vector256<float> sum = Vector256<float>.Zero;
                    for (int j = 0; j <= i; j++, coefficients += MaskTable.Lanes)
                    {
                        sum = Vector256.MultiplyAddEstimate(Vector256.Load(coefficients), picked[j], sum);
                    }

                    gains = Vector256.MultiplyAddEstimate(sum, sum, gains);
                }

                if (noisy)
                {
                    random = Lanes8.NextRandom(random);
                    Vector256<float> most = Vector256.Min(gains * noise.Relative, Vector256.Create(noise.Bound));
                    gains -= most * (Lanes8.HighBits(random) * UnitOfHighBits);
                }

                Vector256<float> better = Vector256.GreaterThan(gains, best);
                best = Vector256.ConditionalSelect(better, gains, best);
                bestVector = Vector256.ConditionalSelect(better.AsInt32(), Vector256.Create(vector), bestVector);
            }
        }

        int mask = Largest(best, bestVector, out gain);
        return mask < table.Count ? mask : -1;
    }

    /// <summary>The values of a mask, s_m = L⁻ᵀ·(L⁻¹·f_m), zeros elsewhere.</summary>
    /// <param name="table">The pattern's masks.</param>
    /// <param name="mask">The mask.</param>
    /// <param name="f">[M].</param>
    /// <param name="coefficients">The group's inverses.</param>
    /// <param name="values">[M], the result.</param>
    public static void Solve(MaskTable table, int mask, float* f, float* coefficients, float* values)
    {
        ReadOnlySpan<byte> columns = table.Kept(mask);
        new Span<float>(values, table.Pattern.Group).Clear();
        float* row = coefficients + ((long)(mask / MaskTable.Lanes) * table.Pairs * MaskTable.Lanes) + (mask % MaskTable.Lanes);
        for (int i = 0; i < columns.Length; i++)
        {
            float sum = 0;
            for (int j = 0; j <= i; j++)
            {
                sum += row[j * MaskTable.Lanes] * f[columns[j]];
            }

            for (int j = 0; j <= i; j++)
            {
                values[columns[j]] += row[j * MaskTable.Lanes] * sum;
            }

            row += (i + 1) * MaskTable.Lanes;
        }
    }

    /// <summary>Random states of eight lanes, the same on every machine and thread.</summary>
    public static Vector256<float> StartRandom(ulong seed)
    {
        Span<uint> state = stackalloc uint[MaskTable.Lanes];
        for (int i = 0; i < state.Length; i++)
        {
            state[i] = (uint)(Seeds.Mix(seed, (ulong)i) >> 32) | 1;
        }

        return Vector256.Create<uint>(state).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Pick(Vector256<float> low, Vector256<float> high, Vector256<int> index, bool wide)
    {
        if (!wide)
        {
            return Vector256.ShuffleNative(low, index);
        }

        Vector256<int> within = index & Vector256.Create(MaskTable.Lanes - 1);
        Vector256<float> inHigh = Vector256.GreaterThan(index, Vector256.Create(MaskTable.Lanes - 1)).AsSingle();
        return Vector256.ConditionalSelect(inHigh, Vector256.ShuffleNative(high, within), Vector256.ShuffleNative(low, within));
    }

    // The largest of the lanes; of equals the first lane.
    private static int Largest(Vector256<float> best, Vector256<int> bestVector, out float gain)
    {
        int lane = 0;
        gain = best.ToScalar();
        for (int i = 1; i < MaskTable.Lanes; i++)
        {
            if (best[i] > gain)
            {
                gain = best[i];
                lane = i;
            }
        }

        int vector = bestVector[lane];
        return vector < 0 ? -1 : (vector * MaskTable.Lanes) + lane;
    }
}
