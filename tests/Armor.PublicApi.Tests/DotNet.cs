using System.Diagnostics;

namespace Armor.PublicApi.Tests;

/// <summary>Runs the <c>dotnet</c> command, and what it has built, as a user would.</summary>
internal static class DotNet
{
    private static readonly string[] BuildVerbs = ["pack", "build", "publish"];

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
        return RunProgram(folder, "dotnet", [.. arguments, .. alone]);
    }

    /// <summary>The same for any program.</summary>
    /// <param name="folder">Where to run.</param>
    /// <param name="program">Its name or path.</param>
    /// <param name="arguments">Each is one argument.</param>
    /// <returns>Standard output.</returns>
    internal static string RunProgram(string folder, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
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
        Assert.That(process.ExitCode, Is.Zero, $"{program} {string.Join(' ', arguments)}{Environment.NewLine}{output}{error.Result}");
        return output;
    }
}
