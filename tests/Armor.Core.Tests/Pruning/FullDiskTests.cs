using System.Diagnostics;
using Armor.Core.Pruning;

namespace Armor.Core.Tests.Pruning;

/// <summary>Runs on a disk that fills up, which is a file system in memory; mounting one is for Linux and its superuser.</summary>
public sealed class FullDiskTests
{
    private static readonly ModelPrunerOptions Options = new()
    {
        Pruner = ArmorPrunerOptions.Fast with { BlockSize = 4, MaxDegreeOfParallelism = 1 },
        TokensPerBatch = TinyLlama.ContextLength - 1,
        Resume = true,
    };

    private TemporaryFolder folder = null!;
    private string model = null!;
    private string disk = null!;

    [SetUp]
    public void MountDisk()
    {
        folder = new TemporaryFolder();
        model = TinyLlama.Write(folder.File("model"));
        disk = folder.File("disk");
        Directory.CreateDirectory(disk);
        if (!OperatingSystem.IsLinux() || !Run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk))
        {
            Assert.Ignore("A small file system could not be mounted, which Linux allows its superuser only.");
        }
    }

    [TearDown]
    public void UnmountDisk()
    {
        Run("umount", disk);
        folder.Dispose();
    }

    [Test]
    public void ARunWhoseDiskFillsUpNamesTheFileAndGoesOnFromThereLater()
    {
        string whole = Path.Combine(folder.Path, "whole");
        Prune(whole);
        long needed = Directory.GetFiles(whole).Sum(file => new FileInfo(file).Length);

        // From too little for the first file to too little for the last.
        foreach (double share in new[] { 0.1, 0.4, 0.8, 1.2 })
        {
            string output = Path.Combine(disk, "out");
            Assert.That(Run("mount", "-o", $"remount,size={(long)(share * needed) / 4096 * 4}k", disk), Is.True);
            Assert.That(() => Prune(output), Throws.InstanceOf<IOException>().With.Message.Contains(disk), $"{share}");
            Assert.That(Directory.Exists(output), Is.False, "no output before its time");

            Assert.That(Run("mount", "-o", "remount,size=64m", disk), Is.True);
            Prune(output);
            foreach (string file in Directory.GetFiles(whole))
            {
                byte[] bytes = File.ReadAllBytes(Path.Combine(output, Path.GetFileName(file)));
                Assert.That(bytes.AsSpan().SequenceEqual(File.ReadAllBytes(file)), Is.True, $"{share}: {Path.GetFileName(file)}");
            }

            Directory.Delete(output, recursive: true);
        }
    }

    private void Prune(string output) => ModelPruner.PruneTokensAsync(model, output, TinyLlama.Sequences(8), Options).GetAwaiter().GetResult();

    private static bool Run(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            process.StandardError.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
