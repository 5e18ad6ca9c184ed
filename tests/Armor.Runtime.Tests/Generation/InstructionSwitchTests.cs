using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Tests.Generation;

/// <summary>What the run-time's own switches leave of the processor, in a process started with them.</summary>
public sealed class InstructionSwitchTests
{
    [TestCase("DOTNET_EnableAVX512", "AVX2")]
    [TestCase("DOTNET_EnableAVX2", "128-bit vectors")]
    [TestCase("DOTNET_EnableHWIntrinsic", "no vectors")]
    public void AProcessWithoutThemGivesTheReferencesLogits(string variable, string expectedSet)
    {
        if (!Avx512F.IsSupported)
        {
            Assert.Ignore("The processor has no AVX-512 that could be switched off.");
        }

        using var reference = new ReferenceBackend();
        float[] expected = LogitsProgram.Logits(reference);
        var start = new ProcessStartInfo("dotnet", [typeof(LogitsProgram).Assembly.Location]) { RedirectStandardOutput = true };
        start.Environment[variable] = "0";
        using Process process = Process.Start(start)!;
        string[] lines = process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, string.Join('\n', lines));
        Assert.That(lines[0], Is.EqualTo(expectedSet));
        float[] logits = MemoryMarshal.Cast<byte, float>(Convert.FromBase64String(lines[1])).ToArray();
        Assert.That(logits, Is.EqualTo(expected).Within(1e-3f));
        Assert.That(expected.Max() - expected.Min(), Is.GreaterThan(1), "they say something");
    }
}
