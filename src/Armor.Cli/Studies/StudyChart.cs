using ScottPlot;

namespace Armor.Cli.Studies;

/// <summary>Draws every run of a study as a point: a line a setting, or curves over the optimiser's time where settings differ in their work.</summary>
internal static class StudyChart
{
    private const int Width = 1100;
    private const int HeightOfRow = 48;
    private const int HeightOfFrame = 150;
    private const int HeightOfCurves = 640;

    private static readonly Color[] Colors = [Color.FromHex("#8c959f"), Color.FromHex("#bf8700"), Color.FromHex("#1f6feb"), Color.FromHex("#1a7f37"), Color.FromHex("#cf222e")];

    internal static void Write(StudyResult result, string path)
    {
        using var plot = new Plot();
        bool hasCurves = result.Rows.All(row => row.Curve is not null);
        if (hasCurves)
        {
            DrawCurves(plot, result.Rows);
        }
        else
        {
            DrawSettings(plot, [.. result.Rows.Reverse()]);
        }

        plot.Font.Set(Fonts.Sans);
        plot.Title($"What pruning lost, run by run: {result.Name}, {result.Model}", size: 18);
        plot.SavePng(path, Width, hasCurves ? HeightOfCurves : HeightOfFrame + (HeightOfRow * result.Rows.Count));
    }

    private static void DrawSettings(Plot plot, StudyRow[] rows)
    {
        foreach ((int place, StudyRow row) in rows.Index())
        {
            AddRuns(plot, [.. row.DeltaNlls], [.. row.DeltaNlls.Select(_ => (double)place)], Color.FromHex("#1f6feb"));
        }

        plot.Axes.Left.TickGenerator = new ScottPlot.TickGenerators.NumericManual([.. rows.Select((_, place) => (double)place)], [.. rows.Select(row => row.Setting)]);
        plot.XLabel("NLL a token above the dense model's, in nats (less is better)", size: 14);
        double most = rows.Max(row => row.DeltaNlls.Max());
        plot.Axes.SetLimits(Math.Min(0, rows.Min(row => row.DeltaNlls.Min())), most * 1.05, -0.6, rows.Length - 0.4);
    }

    /// <summary>The mean of each setting's runs over its time, on a logarithmic axis.</summary>
    private static void DrawCurves(Plot plot, IReadOnlyList<StudyRow> rows)
    {
        foreach ((int index, IGrouping<string?, StudyRow> curve) in rows.GroupBy(row => row.Curve).Index())
        {
            Color color = Colors[index % Colors.Length];
            StudyRow[] ordered = [.. curve.OrderBy(row => row.OptimiserSeconds)];
            var line = plot.Add.Scatter(ordered.Select(Time).ToArray(), ordered.Select(row => row.Mean).ToArray(), color);
            line.LegendText = curve.Key!;
            line.LineWidth = 2;
            line.MarkerSize = 0;
            foreach (StudyRow row in ordered)
            {
                AddRuns(plot, [.. row.DeltaNlls.Select(_ => Time(row))], [.. row.DeltaNlls], color);
            }
        }

        double[] ticks = [.. Enumerable.Range(-3, 9).SelectMany(exponent => new[] { 1, 2, 5 }, (exponent, digit) => digit * Math.Pow(10, exponent))];
        plot.Axes.Bottom.TickGenerator = new ScottPlot.TickGenerators.NumericManual(
            [.. ticks.Select(Math.Log10)], [.. ticks.Select(tick => FormattableString.Invariant($"{tick:0.###}"))]);
        plot.XLabel("seconds in which weights were optimised", size: 14);
        plot.YLabel("NLL a token above the dense model's, in nats (less is better)", size: 14);
        plot.ShowLegend(Alignment.LowerLeft); // the axis begins at 0, far below most curves
        plot.Axes.AutoScale();
        plot.Axes.SetLimitsY(0, rows.Max(row => row.DeltaNlls.Max()) * 1.05);

        static double Time(StudyRow row) => Math.Log10(Math.Max(row.OptimiserSeconds, 1e-3));
    }

    private static void AddRuns(Plot plot, double[] x, double[] y, Color color) => plot.Add.Markers(x, y, MarkerShape.FilledCircle, 11, color.WithAlpha(0.55));
}
