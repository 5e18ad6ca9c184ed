using System.Text.RegularExpressions;
using Armor.Cuda.Kernels;
using Armor.Cuda.Tests.Emulation;

namespace Armor.Cuda.Tests;

/// <summary>Clang compiles every kernel for NVIDIA's cards, without one and without NVIDIA's headers.</summary>
public class KernelCompilationTests
{
    private static readonly string[] Compilers = ["clang++", "clang", .. Enumerable.Range(14, 12).Reverse().SelectMany(version => new[] { $"clang++-{version}", $"clang-{version}" })];

    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void DeleteFiles() => folder.Dispose();

    // Hopper's kernels have instructions of their own; clang knows that card since 16.
    [TestCase("sm_80")]
    [TestCase("sm_86")]
    [TestCase("sm_90")]
    public void EveryKernelCompilesForTheCard(string architecture)
    {
        var ptx = Compile(architecture);
        var entries = Regex.Matches(ptx, @"\.visible \.entry (\w+)\(").Select(match => match.Groups[1].Value);
        Assert.That(entries, Is.EquivalentTo(KernelNames.All.Select(kernel => kernel.Name)));
    }

    [Test]
    public void NoArrayOfAKernelLeavesTheRegisters() => Assert.That(Compile("sm_80"), Does.Not.Contain("ld.local").And.Not.Contain("st.local"));

    [Test]
    public void ArgumentsHaveTheSizesThatTheKernelsExpect()
    {
        var ptx = Compile("sm_80");
        foreach (var kernel in KernelNames.All)
        {
            Assert.That(Regex.Match(ptx, $@"{kernel.Name}_param_0\[(\d+)\]").Groups[1].Value, Is.EqualTo($"{kernel.Bytes}"), kernel.Name);
        }
    }

    private string Compile(string architecture)
    {
        if (Compilers.Select(HostCompiler.OnPath).FirstOrDefault(path => path is not null) is not { } compiler)
        {
            Assert.Ignore("Compiling kernels without CUDA needs clang: looked on the path for clang, clang++ and clang-14 to clang-25.");
            return "";
        }

        var source = folder.File($"{architecture}.cu");
        var output = folder.File($"{architecture}.ptx");
        if (!File.Exists(output))
        {
            File.WriteAllText(source, KernelSource.All);
            try
            {
                HostCompiler.Run(
                    compiler, "-x", "cuda", "--cuda-device-only", $"--cuda-gpu-arch={architecture}", "-nocudainc", "-nocudalib", "-std=c++17", "-O3", "-Wall", "-Wextra", "-Werror",
                    "-Xclang", "-fno-cuda-host-device-constexpr",
                    "-S", source, "-o", output);
            }
            catch (CudaException exception) when (exception.Message.Contains("unsupported CUDA gpu architecture", StringComparison.OrdinalIgnoreCase))
            {
                Assert.Ignore($"{compiler} does not know {architecture}.");
            }
        }

        return File.ReadAllText(output);
    }
}
