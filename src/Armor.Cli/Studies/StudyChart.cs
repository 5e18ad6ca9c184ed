using ScottPlot;

namespace Armor.Cli.Studies;

/// <summary>Draws every run of a study as a point, a line a setting.</summary>
internal static class StudyChart
{
    private const int Width = 1100;
    private const int HeightOfRow = 48;
    private const int HeightOfFrame = 150;

    internal static void Write(StudyResult result, string path)
    {
        StudyRow[] rows = [.. result.Rows.Reverse()];
        using var plot = new Plot();
        foreach ((int place, StudyRow row) in rows.Index())
        {
            plot.Add.Markers(row.DeltaNlls.ToArray(), row.DeltaNlls.Select(_ => (double)place).ToArray(), MarkerShape.FilledCircle, 11, Color.FromHex("#1f6feb").WithAlpha(0.55));
        }

        plot.Axes.Left.TickGenerator = new ScottPlot.TickGenerators.NumericManual([.. rows.Select((_, place) => (double)place)], [.. rows.Select(row => row.Setting)]);
        plot.Font.Set(Fonts.Sans);
        plot.Title($"What pruning lost, run by run: {result.Name}", size: 18);
        plot.XLabel("NLL a token above the dense model's, in nats (less is better)", size: 14);
        double most = rows.Max(row => row.DeltaNlls.Max());
        plot.Axes.SetLimits(Math.Min(0, rows.Min(row => row.DeltaNlls.Min())), most * 1.05, -0.6, rows.Length - 0.4);
        plot.SavePng(path, Width, HeightOfFrame + (HeightOfRow * rows.Length));
    }
}
