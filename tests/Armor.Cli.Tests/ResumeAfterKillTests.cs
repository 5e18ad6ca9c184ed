using System.Diagnostics;

namespace Armor.Cli.Tests;

/// <summary>A run that is killed (SIGKILL, no clean-up of any kind) and resumed gives the bytes of a run without interruption.</summary>
public class ResumeAfterKillTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    [Test]
    public async Task KilledAndResumedIsByteForByteTheSame()
    {
        using var folder = new TemporaryFolder();
        string model = TinyModel.Write(folder.File("model"));
        string text = TinyModel.WriteText(folder.File("calibration.txt"), documents: 12, seed: 1);
        string[] Arguments(string output) =>
            ["prune", model, "--out", folder.File(output), "--calibration", text, "--preset", "quality", "--block-size", "4", "--json", "--resume"];

        ToolResult whole = await Tool.RunAsync(Arguments("whole"));
        Assert.That(whole.Code, Is.Zero, whole.ToString());

        int kills = 0;
        foreach (int parts in new[] { 0, 2, 5 })
        {
            kills += KillOnceFinished(parts, folder.File("killed.partial"), Arguments("killed")) ? 1 : 0;
        }

        Assert.That(kills, Is.Positive, "every run was over before it could be killed");
        ToolResult resumed = await Tool.RunAsync(Arguments("killed"));
        Assert.That(resumed.Code, Is.Zero, resumed.ToString());
        Assert.That(Files(folder.File("killed")).Keys, Is.EqualTo(Files(folder.File("whole")).Keys));
        foreach ((string name, byte[] bytes) in Files(folder.File("whole")))
        {
            Assert.That(Files(folder.File("killed"))[name].AsSpan().SequenceEqual(bytes), Is.True, name);
        }

        Assert.That(
            Directory.GetFileSystemEntries(folder.Path).Select(path => Path.GetFileName(path)),
            Is.EquivalentTo(new[] { "model", "calibration.txt", "whole", "killed" }),
            "nothing else remains");
    }

    /// <summary>Starts the tool and kills it as soon as some linears are finished; false where it was over before.</summary>
    private static bool KillOnceFinished(int parts, string workspace, string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in (string[])[Path.Combine(AppContext.BaseDirectory, "Armor.Cli.dll"), .. arguments])
        {
            start.ArgumentList.Add(argument);
        }

        using Process process = Process.Start(start)!;
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var stopwatch = Stopwatch.StartNew();
        while (!process.HasExited && !(File.Exists(Path.Combine(workspace, "state.json")) && Parts(workspace) > parts))
        {
            if (stopwatch.Elapsed > Patience)
            {
                process.Kill();
                Assert.Fail("The tool hangs.");
            }

            Thread.Sleep(1);
        }

        bool running = !process.HasExited;
        process.Kill();
        process.WaitForExit();
        return running;
    }

    private static int Parts(string workspace)
    {
        try
        {
            return Directory.GetFiles(workspace, "*.safetensors").Length;
        }
        catch (DirectoryNotFoundException)
        {
            return 0;
        }
    }

    private static SortedDictionary<string, byte[]> Files(string folder) =>
        new(Directory.GetFiles(folder).ToDictionary(path => Path.GetFileName(path), File.ReadAllBytes), StringComparer.Ordinal);
}
