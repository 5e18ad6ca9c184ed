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
        (double seconds, long some) = Pass(model, sequences, most, mode, two, cancellationToken);
        return LoadSeconds(model) + Extrapolated(0, seconds, some, total);
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
        (double layer, double head, long some) = GradientPass(model, sequences, most, cancellationToken);
        return (Extrapolated(2 * LoadSeconds(model), layer, some, total), Extrapolated(0, head, some, total));
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

    private static (double Layer, double Head, long Tokens) GradientPass(
        LayerwiseModel model, IReadOnlyList<int[]> sequences, int tokens, CancellationToken cancellationToken)
    {
        List<int[]> some = Cut(sequences, tokens);
        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(some, tokens, CPU);
        try
        {
            (double layer, double head) = (double.PositiveInfinity, double.PositiveInfinity);
            var budget = Stopwatch.StartNew();
            for (int repeat = 0; repeat < 3 && (repeat == 0 || budget.Elapsed.TotalSeconds < MeasuringSeconds); repeat++)
            {
                var marks = new List<double>();
                var stopwatch = Stopwatch.StartNew();
                new GradientWalk(model, batches, 0, layers: 1).Run(
                    (_, _) => { }, Path.GetTempPath(), long.MaxValue / 4, _ => marks.Add(stopwatch.Elapsed.TotalSeconds), cancellationToken);

                // Entered: the layer, the head, the layer again.
                head = Math.Min(head, marks[2] - marks[1]);
                layer = Math.Min(layer, stopwatch.Elapsed.TotalSeconds - marks[2] + marks[1] - marks[0]);
            }

            return (layer, head, some.Sum(sequence => (long)sequence.Length));
        }
        finally
        {
            foreach (CalibrationBatch batch in batches)
            {
                batch.Dispose();
            }
        }
    }

    private static (double Seconds, long Tokens) Pass(
        LayerwiseModel model, IReadOnlyList<int[]> sequences, int tokens, CalibrationMode mode, bool two, CancellationToken cancellationToken)
    {
        List<int[]> some = Cut(sequences, tokens);
        IReadOnlyList<CalibrationBatch> batches = CalibrationBatch.Create(some, tokens, CPU);
        try
        {
            double best = double.PositiveInfinity;
            var budget = Stopwatch.StartNew();
            for (int repeat = 0; repeat < 3 && (repeat == 0 || budget.Elapsed.TotalSeconds < MeasuringSeconds); repeat++)
            {
                var stopwatch = Stopwatch.StartNew();
                using var walk = new CalibrationWalk(model, batches, mode, two, WalkStorage.Memory with { KeptBytes = long.MaxValue }, cancellationToken: cancellationToken);
                walk.EnterLayer(0);
                walk.Embed();
                double embedded = stopwatch.Elapsed.TotalSeconds;
                foreach ((LinearGroup group, int? expert) in ModelShapes.Linears(model.Configuration).Select(linear => (linear.Group, linear.Expert)).Distinct())
                {
                    walk.Collect(group, expert, ActivationMoments.Diagonal, cancellationToken).Dispose();
                    walk.Pass(group, expert, cancellationToken);
                }

                // The embedding is once a run, and an instant there.
                best = Math.Min(best, stopwatch.Elapsed.TotalSeconds - embedded);
            }

            return (best, some.Sum(sequence => (long)sequence.Length));
        }
        finally
        {
            foreach (CalibrationBatch batch in batches)
            {
                batch.Dispose();
            }
        }
    }
}
