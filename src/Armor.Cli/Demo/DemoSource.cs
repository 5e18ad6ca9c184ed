using Armor.Cli.Hosting;

namespace Armor.Cli.Demo;

/// <summary>The model and the texts that a demo runs on.</summary>
/// <param name="Model">The dense model's folder.</param>
/// <param name="Calibration">Text to calibrate on.</param>
/// <param name="Evaluation">Text to measure on.</param>
internal sealed record DemoSource(string Model, string Calibration, string Evaluation)
{
    /// <summary>The embedded model, which lies beside the tool.</summary>
    /// <exception cref="ToolException">It does not.</exception>
    internal static DemoSource Embedded()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "assets", "armor-tiny");
        return Directory.Exists(folder)
            ? new DemoSource(folder, Path.Combine(folder, "calibration.txt"), Path.Combine(folder, "evaluation.txt"))
            : throw new ToolException($"{folder}: the embedded model is missing from this build of the tool.");
    }
}
