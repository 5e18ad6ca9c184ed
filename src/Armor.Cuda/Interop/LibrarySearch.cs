using System.Runtime.InteropServices;

namespace Armor.Cuda.Interop;

/// <summary>
/// Loads NVIDIA's libraries: known file names in the folders of the options, of the CUDA toolkit and of Python's packages, then by the system's own search.
/// Writes every step down.
/// </summary>
/// <param name="folders">Looked in first.</param>
/// <param name="pythonPackages">A site-packages folder whose <c>nvidia</c> folder has libraries; null for none.</param>
internal sealed class LibrarySearch(IReadOnlyList<string> folders, string? pythonPackages)
{
    public static readonly string[] DriverNames = OperatingSystem.IsWindows() ? ["nvcuda.dll"] : ["libcuda.so.1", "libcuda.so"];

    public static readonly string[] CompilerNames = OperatingSystem.IsWindows()
        ? ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll"]
        : ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so"];

    public static readonly string[] BlasLtNames = OperatingSystem.IsWindows()
        ? ["cublasLt64_13.dll", "cublasLt64_12.dll", "cublasLt64_11.dll"]
        : ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11", "libcublasLt.so"];

    public static readonly string[] SparseLtNames = OperatingSystem.IsWindows() ? ["cusparseLt.dll"] : ["libcusparseLt.so.0", "libcusparseLt.so"];

    /// <summary>The first of the names that loads.</summary>
    /// <param name="library">For the report.</param>
    /// <param name="names">File names, newest first.</param>
    /// <returns>The handle, zero where none loads, and the report without a version.</returns>
    public (nint Handle, CudaLibrary Report) Load(string library, IReadOnlyList<string> names)
    {
        var tried = new List<string>();
        foreach (var folder in Folders())
        {
            if (!Directory.Exists(folder))
            {
                tried.Add($"{folder}: no such folder");
                continue;
            }

            foreach (var name in names)
            {
                foreach (var file in FilesOf(folder, name))
                {
                    if (TryLoad(file, tried, out var handle))
                    {
                        return (handle, new CudaLibrary(library, file, null, tried));
                    }
                }
            }

            tried.Add($"{folder}: none of {string.Join(", ", names)}");
        }

        foreach (var name in names)
        {
            if (TryLoad(name, tried, out var handle))
            {
                return (handle, new CudaLibrary(library, name, null, tried));
            }
        }

        return (0, new CudaLibrary(library, null, null, tried));
    }

    /// <summary>The file itself, and names into which a redistribution has put a hash, such as libcusparseLt-f80c68d1.so.0.</summary>
    internal static IEnumerable<string> FilesOf(string folder, string name)
    {
        var exact = System.IO.Path.Combine(folder, name);
        if (File.Exists(exact))
        {
            yield return exact;
        }

        var dot = name.IndexOf('.', StringComparison.Ordinal);
        foreach (var file in Directory.GetFiles(folder, $"{name[..dot]}-*{name[dot..]}").Order(StringComparer.Ordinal))
        {
            yield return file;
        }
    }

    private static bool TryLoad(string file, List<string> tried, out nint handle)
    {
        try
        {
            handle = NativeLibrary.Load(file);
            tried.Add($"{file}: loaded");
            return true;
        }
        catch (Exception exception) when (exception is DllNotFoundException or BadImageFormatException or FileLoadException)
        {
            handle = 0;
            tried.Add(Reason(file, exception.Message));
            return false;
        }
    }

    /// <summary>What the system says, without the runtime's advice around it.</summary>
    private static string Reason(string file, string message)
    {
        const string advice = "LD_DEBUG environment variable:";
        var start = message.IndexOf(advice, StringComparison.Ordinal);
        var reason = (start < 0 ? message : message[(start + advice.Length)..]).ReplaceLineEndings(" ").Trim();
        return reason.StartsWith(file, StringComparison.Ordinal) ? reason : $"{file}: {reason}";
    }

    private IEnumerable<string> Folders()
    {
        foreach (var folder in folders)
        {
            yield return folder;
        }

        foreach (var folder in PythonFolders())
        {
            yield return folder;
        }

        foreach (var variable in new[] { "CUDA_PATH", "CUDA_HOME" })
        {
            if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } toolkit)
            {
                yield return System.IO.Path.Combine(toolkit, OperatingSystem.IsWindows() ? "bin" : "lib64");
            }
        }

        if (!OperatingSystem.IsWindows())
        {
            yield return "/usr/local/cuda/lib64";
        }
    }

    /// <summary>nvidia/NAME/lib of each package (bin on Windows), CUDA 13's nvidia/cu13/lib among them.</summary>
    private IEnumerable<string> PythonFolders()
    {
        if (pythonPackages is null)
        {
            yield break;
        }

        var root = System.IO.Path.Combine(pythonPackages, "nvidia");
        if (!Directory.Exists(root))
        {
            yield return root;
            yield break;
        }

        foreach (var package in Directory.GetDirectories(root).Order(StringComparer.Ordinal))
        {
            foreach (var name in new[] { "lib", "bin" })
            {
                var folder = System.IO.Path.Combine(package, name);
                if (Directory.Exists(folder))
                {
                    yield return folder;
                }
            }
        }
    }
}
