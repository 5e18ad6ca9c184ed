using System.Diagnostics;

namespace Armor.PublicApi.Tests;

/// <summary>Runs the <c>dotnet</c> command as a user would.</summary>
internal static class DotNet
{
    private static readonly string[] BuildVerbs = ["pack", "build"];

    /// <summary>The folder into which NuGet unpacks what is restored.</summary>
    internal static string GlobalPackages { get; } = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } set
        ? set
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    /// <summary>Runs to the end; the test fails, with the output, on an exit code other than 0.</summary>
    /// <param name="folder">Where to run.</param>
    /// <param name="arguments">Each is one argument.</param>
    /// <returns>Standard output.</returns>
    internal static string Run(string folder, params string[] arguments)
    {
        // No build server and no second node: they would outlive the command, and hold its output open.
        string[] alone = BuildVerbs.Contains(arguments[0]) ? ["-m:1", "-nodeReuse:false", "-p:UseSharedCompilation=false", "-v:quiet", "-nologo"] : [];
        var start = new ProcessStartInfo("dotnet", [.. arguments, .. alone])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };

        // What the surrounding `dotnet test` sets for its own build does not concern this one.
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBUILD", StringComparison.OrdinalIgnoreCase)).ToArray())
        {
            start.Environment.Remove(name);
        }

        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, $"dotnet {string.Join(' ', arguments)}{Environment.NewLine}{output}{error.Result}");
        return output;
    }
}
