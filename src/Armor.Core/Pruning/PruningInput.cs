using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
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

    /// <summary>W [d_out, d_in], float32, contiguous, where it is to be pruned.</summary>
    public Tensor Weight { get; }

    /// <summary>The statistics of its inputs.</summary>
    public ActivationStatistics Statistics { get; }

    /// <summary>Prepares the input of one weight, and notes what is unusual about it.</summary>
    /// <param name="weight">W, finite.</param>
    /// <param name="statistics">Of its inputs.</param>
    /// <param name="device">Where it is to be pruned.</param>
    /// <param name="notes">Gets a sentence for each oddity.</param>
    public static PruningInput Of(Tensor weight, ActivationStatistics statistics, Device device, List<string> notes)
    {
        using var scope = NewDisposeScope();
        Tensor own = weight.to(device);
        NoteDead(own, statistics, notes);
        int exponent = Exponent(own.abs().max().ToNumber());
        Tensor w = (exponent == 0 ? own : own.to(float64).Times(Math.ScaleB(1, -exponent))).to(float32).contiguous();
        w = TensorMemory.Aligned(w);
        int inputs = Exponent(statistics.Diagonal.mean().ToNumber());
        bool asTheyAre = inputs == 0 && exponent == 0 && statistics.Diagonal.device.ToString() == device.ToString();
        return new PruningInput(w.alias(), exponent, statistics, asTheyAre ? null : Scaled(statistics, device, -inputs, -exponent));
    }

    /// <summary>Checks that a weight can be pruned, and that its statistics fit.</summary>
    /// <exception cref="ArgumentException">The weight is not a finite matrix of suitable shape, or the statistics do not fit it.</exception>
    public static void Check(
        Tensor weight, ActivationStatistics statistics, GradientStatistics? gradients, string name, SparsityPattern pattern)
    {
        string shape = $"[{string.Join(", ", weight.shape)}]";
        if (weight.dim() != 2 || weight.shape[0] == 0 || weight.shape[1] == 0 || weight.shape[1] % pattern.Group != 0)
        {
            throw new ArgumentException($"{name}: expected a weight [d_out, d_in] with d_in a multiple of {pattern.Group}; found {shape}.", nameof(weight));
        }

        if (statistics.Dimension != weight.shape[1])
        {
            throw new ArgumentException(
                $"{name}: expected statistics of dimension {weight.shape[1]} for a weight {shape}; found {statistics.Dimension}.", nameof(statistics));
        }

        if (gradients is not null && gradients.Dimension != weight.shape[0])
        {
            throw new ArgumentException(
                $"{name}: expected gradient statistics of dimension {weight.shape[0]} for a weight {shape}; found {gradients.Dimension}.", nameof(gradients));
        }

        if (statistics.ResidualMoment is { } residual && residual.shape[0] != weight.shape[0])
        {
            throw new ArgumentException(
                $"{name}: expected a residual moment [{weight.shape[0]}, {weight.shape[1]}] for a weight {shape}; found [{string.Join(", ", residual.shape)}].",
                nameof(statistics));
        }

        using var scope = NewDisposeScope();
        long bad = weight.to(float32).isfinite().logical_not().sum().ToInteger();
        if (bad > 0)
        {
            throw new ArgumentException($"{name}: expected finite values; found {bad} that are NaN, infinite or beyond float32.", nameof(weight));
        }
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
    private static ActivationStatistics Scaled(ActivationStatistics statistics, Device device, int inputs, int outputs)
    {
        using var scope = NewDisposeScope();
        double scale = Math.ScaleB(1, inputs);
        return ActivationStatistics.Own(
            statistics.Diagonal.to(device).Times(scale),
            statistics.Hessian?.to(device).Times(scale),
            statistics.CrossMoment?.to(device).Times(scale),
            statistics.ResidualMoment?.to(device).Times(Math.ScaleB(1, inputs + outputs)),
            statistics.TokenCount);
    }

    private static void NoteDead(Tensor weight, ActivationStatistics statistics, List<string> notes)
    {
        long inputs = weight.shape[1];
        long deadInputs = statistics.Diagonal.IsZero().sum().ToInteger();
        long deadRows = weight.NonZero().any(1).logical_not().sum().ToInteger();
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
