using System.Diagnostics;
using System.Text;
using Armor.Cuda.Interop;
using Armor.Cuda.Kernels;

namespace Armor.Cuda.Tests.Emulation;

/// <summary>Compiles the kernels as C++ for this machine; the "image" that it gives is the name of a library, which <see cref="EmulatedDriver"/> loads.</summary>
internal sealed class HostCompiler : IKernelCompiler
{
    private static readonly string[] Programs = ["g++", "clang++", "c++"];
    private static readonly Lazy<string?> Found = new(() => Programs.Select(OnPath).FirstOrDefault(path => path is not null));
    private static readonly Lock Gate = new();
    private static readonly Dictionary<string, byte[]> Compiled = [];
    private static readonly TemporaryFolder Folder = new();

    /// <summary>Why the emulation cannot run here; null where it can.</summary>
    public static string? Missing => OperatingSystem.IsLinux()
        ? Found.Value is null ? $"The kernels are emulated by a C++ compiler: looked on the path for {string.Join(", ", Programs)}." : null
        : "The emulation switches stacks by ucontext, which is Linux's.";

    public string Name => $"host {Found.Value}";

    public int Compilations { get; private set; }

    public byte[] Compile(string source, int capability)
    {
        Compilations++;
        lock (Gate)
        {
            if (Compiled.TryGetValue(source, out var image))
            {
                return image;
            }

            var name = Folder.File($"kernels-{Compiled.Count}");
            var kernels = string.Join('\n', KernelNames.All.Select(kernel => $"KERNEL({kernel.Name}, {kernel.Arguments})"));
            File.WriteAllText(name + ".cpp", $"#include \"emulator.h\"\n{source}\n#include \"emulated_end.h\"\n{kernels}\n");
            Run(Found.Value!, "-std=c++17", "-O2", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-shared", "-fPIC", "-pthread",
                "-I", Path.Combine(AppContext.BaseDirectory, "Emulation"), name + ".cpp", "-o", name + ".so");
            return Compiled[source] = Encoding.UTF8.GetBytes(name + ".so");
        }
    }

    /// <summary>Where a program is; null where it is not.</summary>
    public static string? OnPath(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    /// <summary>Runs a compiler to its end.</summary>
    /// <exception cref="CudaException">It failed; says what it says.</exception>
    public static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new CudaException($"{program} {string.Join(' ', arguments)} gave {process.ExitCode}: {errors}{output.Result}");
        }
    }
}
