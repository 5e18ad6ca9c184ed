using System.Diagnostics;
using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using Armor.Core.Calibration.Streams;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Planning;

/// <summary>How long calibration takes for one decoder layer, from passes of a few tokens through the first one.</summary>
internal static class TimedCalibration
{
    // Enough for the matrix products to reach their rate, and for a 7B layer little over a second of two processors.
    private const double LargestWork = 1.5e11;
    private const int TokensPerProduct = 2048;

    // The first pass compiles; small models repeat it for as long.
    private const double MeasuringSeconds = 2;

    /// <summary>Seconds of the forward passes of one layer, its weights' loading included.</summary>
    /// <param name="model">The dense model.</param>
    /// <param name="sequences">The calibration tokens.</param>
    /// <param name="tokensPerBatch">The tokens of a batch.</param>
    /// <param name="mode">Whose activations are measured.</param>
    /// <param name="two">Whether a dense stream runs beside.</param>
    /// <param name="cancellationToken">Stops the measurement.</param>
    public static double ForwardSeconds(
        LayerwiseModel model, IReadOnlyList<int[]> sequences, int tokensPerBatch, CalibrationMode mode, bool two, CancellationToken cancellationToken)
    {
        double work = 2.0 * ModelShapes.Linears(model.Configuration).Sum(linear => (double)linear.Rows * linear.Columns) * (two ? 2 : 1);
        int most = (int)Math.Clamp(LargestWork / work, 64, Math.Max(64, tokensPerBatch));
        long total = sequences.Sum(sequence => (long)sequence.Length);
        (double[] seconds, long some) = Best(sequences, most, batches => Pass(model, batches, mode, two, cancellationToken));
        return LoadSeconds(model) + Extrapolated(0, seconds[0], some, total);
    }

    /// <summary>Seconds of the pass of gradients: of one layer, there and back, and of the head.</summary>
    /// <param name="model">The dense model.</param>
    /// <param name="sequences">Its tokens.</param>
    /// <param name="tokensPerBatch">The tokens of a batch.</param>
    /// <param name="cancellationToken">Stops the measurement.</param>
    public static (double Layer, double Head) GradientSeconds(
        LayerwiseModel model, IReadOnlyList<int[]> sequences, int tokensPerBatch, CancellationToken cancellationToken)
    {
        double work = 6.0 * ModelShapes.Linears(model.Configuration).Sum(linear => (double)linear.Rows * linear.Columns);
        int most = (int)Math.Clamp(LargestWork / work, 64, Math.Max(64, tokensPerBatch));
        long total = sequences.Sum(sequence => (long)sequence.Length);
        (double[] seconds, long some) = Best(sequences, most, batches => GradientPass(model, batches, cancellationToken));
        return (Extrapolated(2 * LoadSeconds(model), seconds[0], some, total), Extrapolated(0, seconds[1], some, total));
    }

    /// <summary>Seconds to sum one group's moments.</summary>
    /// <param name="columns">d_in.</param>
    /// <param name="rows">d_out, for the residual moment.</param>
    /// <param name="moments">What is collected.</param>
    /// <param name="tokens">All calibration tokens.</param>
    /// <param name="tokensPerBatch">The tokens of a batch.</param>
    public static double MomentSeconds(int columns, int rows, ActivationMoments moments, long tokens, int tokensPerBatch)
    {
        int chunk = (int)Math.Min(Math.Min(TokensPerProduct, tokensPerBatch), tokens);
        int most = (int)Math.Clamp(LargestWork / ((double)columns * columns), Math.Min(128, chunk), chunk);
        using var accumulator = new ActivationAccumulator("measurement", columns, moments);
        double large = Add(accumulator, columns, rows, most, moments);
        double perChunk = most == chunk ? large : large + (Math.Max(0, large - Add(accumulator, columns, rows, most / 2, moments)) / (most - (most / 2)) * (chunk - most));
        var stopwatch = Stopwatch.StartNew();
        accumulator.Take().Dispose();
        return (perChunk * tokens / chunk) + stopwatch.Elapsed.TotalSeconds;
    }

    private static double Add(ActivationAccumulator accumulator, int columns, int rows, int tokens, ActivationMoments moments)
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(3);
        Tensor inputs = randn([tokens, columns], float32, generator: generator);
        Tensor? missing = moments.HasFlag(ActivationMoments.ResidualMoment) ? randn([tokens, rows], float32, generator: generator) : null;
        double best = double.PositiveInfinity;
        var budget = Stopwatch.StartNew();
        for (int repeat = 0; repeat < 3 && (repeat < 2 || budget.Elapsed.TotalSeconds < 0.3); repeat++)
        {
            var stopwatch = Stopwatch.StartNew();
            accumulator.Add(inputs, moments.HasFlag(ActivationMoments.CrossMoment) ? inputs : null, missing);
            best = Math.Min(best, stopwatch.Elapsed.TotalSeconds);
        }

        return best;
    }

    // The first tokens.
    private static List<int[]> Cut(IReadOnlyList<int[]> sequences, int tokens)
    {
        var some = new List<int[]>();
        long count = 0;
        foreach (int[] sequence in sequences)
        {
            int[] cut = sequence[..(int)Math.Min(sequence.Length, tokens - count)];
            if (cut.Length > 1)
            {
                some.Add(cut);
                count += cut.Length;
            }
        }

        return some;
    }

    // What is once a layer does not grow with the tokens.
    private static double Extrapolated(double once, double seconds, long some, long total) =>
        once + (Math.Max(0, seconds - once) * ((double)total / some));

    private static double LoadSeconds(LayerwiseModel model)
    {
        var stopwatch = Stopwatch.StartNew();
        model.LoadLayer(0).Dispose();
        return stopwatch.Elapsed.TotalSeconds;
    }

    // Best of each time over some repetitions with the first tokens, and how many those are.
    private static (double[] Seconds, long Tokens) Best(IReadOnlyList<int[]> sequences, int tokens, Func<IReadOnlyList<CalibrationBatch>, double[]> measure)
    {
        List<int[]> some = Cut(sequences, tokens);
        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(some, tokens, CPU);
        try
        {
            double[]? best = null;
            var budget = Stopwatch.StartNew();
            for (int repeat = 0; repeat < 3 && (repeat == 0 || budget.Elapsed.TotalSeconds < MeasuringSeconds); repeat++)
            {
                double[] seconds = measure(batches);
                best = best is null ? seconds : [.. best.Zip(seconds, Math.Min)];
            }

            return (best!, some.Sum(sequence => (long)sequence.Length));
        }
        finally
        {
            foreach (CalibrationBatch batch in batches)
            {
                batch.Dispose();
            }
        }
    }

    private static double[] GradientPass(LayerwiseModel model, IReadOnlyList<CalibrationBatch> batches, CancellationToken cancellationToken)
    {
        var marks = new List<double>();
        var stopwatch = Stopwatch.StartNew();
        new GradientWalk(model, batches, 0, layers: 1).Run(
            (_, _) => { }, Path.GetTempPath(), long.MaxValue / 4, _ => marks.Add(stopwatch.Elapsed.TotalSeconds), cancellationToken);

        // Entered: the layer, the head, the layer again.
        return [stopwatch.Elapsed.TotalSeconds - marks[2] + marks[1] - marks[0], marks[2] - marks[1]];
    }

    private static double[] Pass(
        LayerwiseModel model, IReadOnlyList<CalibrationBatch> batches, CalibrationMode mode, bool two, CancellationToken cancellationToken)
    {
        using var walk = new CalibrationWalk(model, batches, mode, two, WalkStorage.Memory with { KeptBytes = long.MaxValue }, cancellationToken: cancellationToken);
        walk.EnterLayer(0);

        // The embedding is once a run, and an instant there.
        walk.Embed();
        var stopwatch = Stopwatch.StartNew();
        foreach ((LinearGroup group, int? expert) in ModelShapes.Linears(model.Configuration).Select(linear => (linear.Group, linear.Expert)).Distinct())
        {
            walk.Collect(group, expert, ActivationMoments.Diagonal, cancellationToken).Dispose();
            walk.Pass(group, expert, cancellationToken);
        }

        return [stopwatch.Elapsed.TotalSeconds];
    }
}
