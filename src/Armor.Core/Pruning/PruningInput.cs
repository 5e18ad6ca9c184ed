using Armor.Core.Calibration;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// Weight and statistics as the optimisers see them: in float32, and where they are out of all proportion scaled by powers of two, which changes no
/// result but keeps products of both within float32. Owns what it made.
/// </summary>
internal sealed class PruningInput : IDisposable
{
    // Beyond 2^±20, products of weights, statistics and factors may leave float32's 2^±126.
    private const int LargestExponent = 20;

    private readonly ActivationStatistics? scaled;
    private readonly int exponent;

    private PruningInput(Tensor weight, int exponent, ActivationStatistics statistics, ActivationStatistics? scaled)
    {
        Weight = weight.DetachFromDisposeScope();
        this.exponent = exponent;
        Statistics = scaled ?? statistics;
        this.scaled = scaled;
    }

    /// <summary>W [d_out, d_in], float32, contiguous, on the CPU.</summary>
    public Tensor Weight { get; }

    /// <summary>The statistics of its inputs.</summary>
    public ActivationStatistics Statistics { get; }

    /// <summary>Prepares the input of one weight, and notes what is unusual about it.</summary>
    /// <param name="weight">W, finite.</param>
    /// <param name="statistics">Of its inputs.</param>
    /// <param name="notes">Gets a sentence for each oddity.</param>
    public static PruningInput Of(Tensor weight, ActivationStatistics statistics, List<string> notes)
    {
        using var scope = NewDisposeScope();
        Tensor own = weight.to(CPU);
        NoteDead(own, statistics, notes);
        int exponent = Exponent(own.abs().max().ToDouble());
        Tensor w = (exponent == 0 ? own : own.to(float64).Times(Math.ScaleB(1, -exponent))).to(float32).contiguous();
        int inputs = Exponent(statistics.Diagonal.mean().ToDouble());
        return new PruningInput(w.alias(), exponent, statistics, inputs == 0 && exponent == 0 ? null : Scaled(statistics, -inputs, -exponent));
    }

    /// <summary>A layer of <see cref="Weight"/> as one of the weight that came.</summary>
    public ArmorLayer Restore(ArmorLayer layer)
    {
        if (exponent == 0)
        {
            return layer;
        }

        double scale = Math.ScaleB(1, exponent);
        float[] values = Array.ConvertAll(layer.Core.Values.ToArray(), value => (float)(value * scale));
        var core = new SparseCore(layer.Rows, layer.Columns, values, layer.Core.Mask.ToArray(), layer.Core.Pattern);
        return new ArmorLayer(layer.OutputWrapper, core, layer.InputWrapper);
    }

    /// <summary>Frees what was made.</summary>
    public void Dispose()
    {
        Weight.Dispose();
        scaled?.Dispose();
    }

    private static int Exponent(double size)
    {
        int exponent = size > 0 && double.IsFinite(size) ? Math.ILogB(size) : 0;
        return Math.Abs(exponent) > LargestExponent ? exponent : 0;
    }

    // The residual moment is of outputs, which scale as the weight does.
    private static ActivationStatistics Scaled(ActivationStatistics statistics, int inputs, int outputs)
    {
        using var scope = NewDisposeScope();
        double scale = Math.ScaleB(1, inputs);
        return ActivationStatistics.Own(
            statistics.Diagonal.Times(scale),
            statistics.Hessian?.Times(scale),
            statistics.CrossMoment?.Times(scale),
            statistics.ResidualMoment?.Times(Math.ScaleB(1, inputs + outputs)),
            statistics.TokenCount);
    }

    private static void NoteDead(Tensor weight, ActivationStatistics statistics, List<string> notes)
    {
        long inputs = weight.shape[1];
        long deadInputs = statistics.Diagonal.IsZero().sum().ToInt64();
        long deadRows = weight.NonZero().any(1).logical_not().sum().ToInt64();
        if (deadInputs == inputs)
        {
            notes.Add("Every input was zero on the calibration tokens: all inputs were taken to be alike and uncorrelated.");
        }
        else if (deadInputs > 0)
        {
            notes.Add($"{deadInputs} of {inputs} inputs were zero on the calibration tokens; only damping weighs them.");
        }

        if (deadRows > 0)
        {
            notes.Add($"{deadRows} of {weight.shape[0]} rows of the weight are zero.");
        }
    }
}
