using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;

namespace Armor.Cuda.Tests;

/// <summary>
/// NVIDIA's own compiler takes every kernel: it needs no card, only to be there. Clang takes inline PTX for text, and is not as strict about which functions
/// a card may call.
/// </summary>
public class RuntimeCompilationTests
{
    /// <summary>Folders with libnvrtc, such as an unpacked package's; else where the backend looks.</summary>
    private static readonly string[] Folders = (Environment.GetEnvironmentVariable("ARMOR_CUDA_LIBRARIES") ?? "").Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);

    [TestCase(80)]
    [TestCase(90)]
    [TestCase(120)]
    public void TheRuntimeCompilerTakesEveryKernel(int capability)
    {
        var (handle, report) = new LibrarySearch(Folders, Environment.GetEnvironmentVariable("ARMOR_PYTHON_PACKAGES")).Load("NVRTC", LibrarySearch.CompilerNames);
        if (handle == 0)
        {
            Assert.Ignore($"{report}. ARMOR_CUDA_LIBRARIES may name its folder.");
        }

        var image = new RuntimeCompiler(handle).Compile(KernelSource.All, capability);
        var isMachineCode = image.AsSpan().StartsWith("\u007fELF"u8);
        Assert.That(isMachineCode || image.AsSpan().IndexOf(".version"u8) >= 0, $"neither machine code nor PTX: {image.Length} bytes");
        foreach (var kernel in KernelNames.All)
        {
            Assert.That(image.AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(kernel.Name)), Is.GreaterThanOrEqualTo(0), kernel.Name);
        }
    }
}
