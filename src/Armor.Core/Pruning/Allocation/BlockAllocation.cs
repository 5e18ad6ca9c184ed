namespace Armor.Core.Pruning.Allocation;

/// <summary>
/// Shares the wrappers' storage out among a model's linears: as much in all as where every linear has blocks of the size that the options name, spent where
/// it takes most off the sum of the losses.
/// </summary>
internal static class BlockAllocation
{
    /// <summary>The block sizes of every linear.</summary>
    /// <param name="linears">
    /// Their trials. A linear whose first loss is not finite keeps its first size and its storage; elsewhere losses that are not finite do not count.
    /// </param>
    /// <returns>Block sizes by name, whose wrappers have at most as many values as the first sizes' have, at no larger a sum of losses.</returns>
    public static IReadOnlyDictionary<string, BlockSizes> Choose(IReadOnlyList<LinearTrials> linears)
    {
        Dictionary<string, BlockSizes> uniform = linears.ToDictionary(linear => linear.Name, linear => linear.Trials[0].Blocks);
        Curve[] curves = [.. linears.Where(linear => double.IsFinite(linear.Trials[0].Loss)).Select(Curve.Of)];
        long left = curves.Sum(curve => curve.Uniform.Cost - curve.Points[0].Cost);
        var reached = new int[curves.Length];
        var stuck = new bool[curves.Length];

        // Along a convex curve each step gains less than the one before, so the order of gains is also the order of steps.
        var steps = from index in Enumerable.Range(0, curves.Length)
                    from point in Enumerable.Range(1, curves[index].Points.Count - 1)
                    orderby curves[index].GainOf(point) descending, index, point
                    select (Curve: index, Point: point);
        foreach ((int curve, int point) in steps)
        {
            long cost = curves[curve].CostOf(point);
            stuck[curve] |= cost > left;
            if (!stuck[curve])
            {
                left -= cost;
                reached[curve] = point;
            }
        }

        double chosen = curves.Select((curve, index) => curve.Points[reached[index]].Loss).Sum();
        if (!(chosen < curves.Sum(curve => curve.Uniform.Loss)))
        {
            return uniform;
        }

        for (int index = 0; index < curves.Length; index++)
        {
            uniform[curves[index].Name] = curves[index].Points[reached[index]].Blocks;
        }

        return uniform;
    }

    private readonly record struct Point(BlockSizes Blocks, long Cost, double Loss);

    /// <summary>One linear's sizes on the lower convex hull of loss over cost, from the cheapest to that of the least loss.</summary>
    private sealed record Curve(string Name, Point Uniform, IReadOnlyList<Point> Points)
    {
        public static Curve Of(LinearTrials linear)
        {
            Point[] all = [.. linear.Trials.Select(trial => new Point(trial.Blocks, trial.Blocks.Values(linear.Rows, linear.Columns), trial.Loss))];
            var hull = new List<Point>();
            foreach (Point point in all.Where(point => double.IsFinite(point.Loss)).OrderBy(point => point.Cost).ThenBy(point => point.Loss))
            {
                if (hull.Count > 0 && point.Loss >= hull[^1].Loss)
                {
                    continue;
                }

                while (hull.Count > 1 && Gain(hull[^2], hull[^1]) <= Gain(hull[^2], point))
                {
                    hull.RemoveAt(hull.Count - 1);
                }

                hull.Add(point);
            }

            return new Curve(linear.Name, all[0], hull);
        }

        public double GainOf(int point) => Gain(Points[point - 1], Points[point]);

        public long CostOf(int point) => Points[point].Cost - Points[point - 1].Cost;

        // Loss taken off for each value added; of two sizes of one cost only the better is on a hull.
        private static double Gain(Point from, Point to) => (from.Loss - to.Loss) / (to.Cost - from.Cost);
    }
}
