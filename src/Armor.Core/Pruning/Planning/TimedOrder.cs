using System.Diagnostics;
using Armor.Core.Calibration.Channels;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Planning;

/// <summary>How long the search for an order of one decoder layer's channels takes, from that of some channels: it grows with their square.</summary>
internal static class TimedOrder
{
    private const int MostChannels = 1024;

    /// <summary>Seconds for one layer.</summary>
    /// <param name="configuration">The model.</param>
    /// <param name="cancellationToken">Stops the measurement.</param>
    public static double Seconds(ModelConfiguration configuration, CancellationToken cancellationToken)
    {
        LinearDescription[] downs = [.. ModelShapes.Linears(configuration).Where(linear => linear.Group == LinearGroup.MlpOutput)];
        (int hidden, int channels) = (downs[0].Rows, downs[0].Columns);
        int some = Math.Min(channels, MostChannels);
        using var scope = NewDisposeScope();
        using var generator = new Generator(4);
        Tensor rows = randn([some, hidden], float32, generator: generator);
        Tensor columns = rows.t().contiguous();
        double best = double.PositiveInfinity;
        for (int repeat = 0; repeat < 2; repeat++)
        {
            var stopwatch = Stopwatch.StartNew();
            ChannelSimilarity.Measure(rows, rows, columns, cancellationToken).Dispose();
            best = Math.Min(best, stopwatch.Elapsed.TotalSeconds);
        }

        return best * Math.Pow((double)channels / some, 2) * downs.Length;
    }
}
