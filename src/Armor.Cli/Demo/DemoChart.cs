using ScottPlot;

namespace Armor.Cli.Demo;

/// <summary>Draws what each method lost, and writes it as a PNG.</summary>
internal static class DemoChart
{
    private const int Width = 1100;
    private const int HeightOfRow = 58;
    private const int HeightOfFrame = 150;

    private static readonly Color ArmorColor = Color.FromHex("#1f6feb");
    private static readonly Color OtherColor = Color.FromHex("#8c959f");

    internal static void Write(DemoResult result, string path)
    {
        // The dense model is the zero line; the best method belongs on top.
        DemoRow[] rows = [.. result.Rows.Where(row => row.Storage < 1).OrderByDescending(row => row.DeltaNll)];
        double most = rows.Max(row => Math.Max(row.DeltaNll, 0));
        using var plot = new Plot();
        for (int place = 0; place < rows.Length; place++)
        {
            DemoRow row = rows[place];
            var bar = plot.Add.Bar(new Bar
            {
                Position = place,
                Value = row.DeltaNll,
                Orientation = Orientation.Horizontal,
                Size = 0.62,
                FillColor = row.Method.StartsWith("armor", StringComparison.Ordinal) ? ArmorColor : OtherColor,
                LineWidth = 0,
                Label = FormattableString.Invariant($"  {row.DeltaNll:0.000}   (perplexity {row.Perplexity:0.00}, storage {row.Storage:0.000})"),
            });
            bar.Horizontal = true;
            bar.ValueLabelStyle.FontSize = 15;
        }

        plot.Axes.Left.TickGenerator = new ScottPlot.TickGenerators.NumericManual(
            [.. rows.Select((_, place) => (double)place)], [.. rows.Select(row => row.Method)]);
        plot.Axes.Left.TickLabelStyle.FontSize = 16;
        plot.Axes.Left.MajorTickStyle.Length = 0;
        plot.Axes.Bottom.TickLabelStyle.FontSize = 13;
        plot.Axes.Bottom.TickGenerator = new ScottPlot.TickGenerators.NumericAutomatic { TargetTickCount = 8 };
        plot.Axes.Right.IsVisible = false;
        plot.Axes.Top.FrameLineStyle.IsVisible = false;
        plot.Font.Set(Fonts.Sans);
        plot.Title("What 2:4 pruning lost: NLL per token above the dense model's", size: 19);
        plot.XLabel("nats a token (0 is the dense model; less is better)", size: 14);
        plot.HideGrid();
        plot.Axes.SetLimits(Math.Min(0, rows.Min(row => row.DeltaNll) * 1.1), most * 1.7, -0.6, rows.Length - 0.4);
        plot.SavePng(path, Width, HeightOfFrame + (HeightOfRow * rows.Length));
    }
}
