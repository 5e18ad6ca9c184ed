using Armor.Cuda.Interop;

namespace Armor.Cuda.Tests;

internal class LibrarySearchTests
{
    private readonly TemporaryFolder folder = new();

    [OneTimeTearDown]
    public void DeleteFiles() => folder.Dispose();

    [Test]
    public void EveryStepIsWrittenDown()
    {
        var python = folder.File("site-packages");
        Directory.CreateDirectory(Path.Combine(python, "nvidia", "cu13", "lib"));
        var broken = Path.Combine(python, "nvidia", "cu13", "lib", "libarmor_missing.so.3");
        File.WriteAllText(broken, "no library");
        var (handle, report) = new LibrarySearch([folder.File("nowhere")], python).Load("Missing", ["libarmor_missing.so.3", "libarmor_missing.so"]);
        Assert.That((handle, report.IsFound), Is.EqualTo(((nint)0, false)));
        Assert.That(report.Tried, Has.Some.EqualTo($"{folder.File("nowhere")}: no such folder"));
        Assert.That(report.Tried, Has.Some.StartsWith($"{broken}: "));
        Assert.That(report.Tried, Has.Some.StartsWith("libarmor_missing.so: "));
        Assert.That(report.ToString(), Does.StartWith("Missing not found: "));
    }

    [Test]
    public void NamesWithAHashAreFound()
    {
        var hashed = folder.File("libcusparseLt-f80c68d1.so.0");
        File.WriteAllText(hashed, "");
        Assert.That(LibrarySearch.FilesOf(folder.Path, "libcusparseLt.so.0"), Is.EqualTo(new[] { hashed }));
        var plain = folder.File("libcusparseLt.so.0");
        File.WriteAllText(plain, "");
        Assert.That(LibrarySearch.FilesOf(folder.Path, "libcusparseLt.so.0"), Is.EqualTo(new[] { plain, hashed }));
    }

    [Test]
    public void StructuresOfTheDriverHaveItsSizes()
    {
        // CUlaunchConfig and CUlaunchAttribute of cuda.h.
        Assert.That(System.Runtime.CompilerServices.Unsafe.SizeOf<CudaDriver.LaunchConfiguration>(), Is.EqualTo(56));
        Assert.That(System.Runtime.CompilerServices.Unsafe.SizeOf<CudaDriver.LaunchAttribute>(), Is.EqualTo(72));
    }
}
