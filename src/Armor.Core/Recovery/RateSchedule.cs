namespace Armor.Core.Recovery;

/// <summary>The learning rate of each step: linear warm-up, then half a cosine down to a hundredth.</summary>
internal static class RateSchedule
{
    private const double Lowest = 0.01;

    /// <summary>The rate of a step.</summary>
    /// <param name="step">From 0.</param>
    /// <param name="steps">Of the whole phase.</param>
    /// <param name="warmUp">Steps of growth.</param>
    /// <param name="highest">The rate at the end of the warm-up.</param>
    public static double At(int step, int steps, int warmUp, double highest)
    {
        if (step < warmUp)
        {
            return highest * (step + 1) / (warmUp + 1);
        }

        double progress = (double)(step - warmUp) / Math.Max(1, steps - warmUp);
        return highest * (Lowest + ((1 - Lowest) * 0.5 * (1 + Math.Cos(Math.PI * Math.Min(1, progress)))));
    }
}
