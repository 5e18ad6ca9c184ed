using System.Globalization;

namespace Armor.Cli.Hosting;

/// <summary>How far some work is.</summary>
/// <param name="Fraction">Of the whole, 0 to 1.</param>
/// <param name="Detail">What is at work and how it goes, such as a layer and its loss.</param>
/// <param name="Remaining">Estimated time left, if known.</param>
internal readonly record struct Step(double Fraction, string Detail, TimeSpan? Remaining)
{
    /// <summary>Estimates the time left from the time gone.</summary>
    internal static Step Timed(double fraction, string detail, TimeSpan elapsed) =>
        new(fraction, detail, fraction is > 0 and <= 1 ? elapsed * ((1 - fraction) / fraction) : null);

    internal string Left => Remaining is { } time ? Format(time) + " left" : string.Empty;

    internal static string Format(TimeSpan time) => time.TotalHours >= 1
        ? string.Create(CultureInfo.InvariantCulture, $"{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}")
        : string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:00}");
}
