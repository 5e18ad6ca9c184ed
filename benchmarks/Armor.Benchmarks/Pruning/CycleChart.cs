using System.Globalization;

namespace Armor.Benchmarks.Pruning;

/// <summary>Draws the times of a recorded table of <see cref="CycleBenchmark"/> over d_out·d_in·b: a line of slope one is linear cost.</summary>
internal static class CycleChart
{
    /// <summary>Reads the table and writes the chart.</summary>
    /// <param name="arguments">[table.md] [chart.png]</param>
    public static int Run(string[] arguments)
    {
        (double Work, double Block, double Milliseconds)[] points = [.. File.ReadLines(arguments[0])
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
            .Where(cells => cells.Length == 8 && int.TryParse(cells[0], out _))
            .Select(cells => (Number(cells[0]) * Number(cells[0]) * Number(cells[1]), Number(cells[1]), Number(cells[2])))];
        using var plot = new ScottPlot.Plot();
        foreach (var series in points.GroupBy(point => point.Block))
        {
            var scatter = plot.Add.Scatter(
                series.Select(point => Math.Log10(point.Work)).ToArray(), series.Select(point => Math.Log10(point.Milliseconds)).ToArray());
            scatter.LegendText = $"block {series.Key}";
            scatter.LineWidth = 0;
            scatter.MarkerSize = 9;
        }

        (double most, _, double longest) = points.MaxBy(point => point.Work);
        double[] ends = [points.Min(point => point.Work), most];
        var line = plot.Add.Scatter(ends.Select(Math.Log10).ToArray(), ends.Select(work => Math.Log10(longest * work / most)).ToArray());
        line.LegendText = "in proportion";
        line.MarkerSize = 0;
        plot.XLabel("d_out · d_in · b, power of ten");
        plot.YLabel("one annealing cycle, power of ten of milliseconds");
        plot.ShowLegend(ScottPlot.Alignment.UpperLeft);
        plot.SavePng(arguments[1], 900, 560);
        return 0;

        static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);
    }
}
