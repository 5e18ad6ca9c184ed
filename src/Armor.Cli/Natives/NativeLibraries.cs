using System.Diagnostics;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Loader;
using System.Text;

namespace Armor.Cli.Natives;

/// <summary>
/// Finds the native libraries of TorchSharp, ScottPlot and ONNX Runtime. In a build of the repository they lie beside the tool. The tool's package carries none:
/// installed from it, the tool builds a small project once that restores them for this machine, into a folder of the user's.
/// </summary>
internal static class NativeLibraries
{
    private const string FolderVariable = "ARMOR_NATIVE_DIR";

    /// <summary>Makes the libraries loadable, restoring them first where that was never done.</summary>
    /// <param name="report">Told what is going on when a restore begins.</param>
    /// <param name="cancellationToken">Stops a restore.</param>
    /// <exception cref="InvalidOperationException">The restore failed; the message holds its output.</exception>
    public static async Task EnsureAsync(Action<string> report, CancellationToken cancellationToken)
    {
        string system = $"{(OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux")}-{RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant()}";
        if (Directory.Exists(NativeFolder(AppContext.BaseDirectory, system)) || Directory.GetFiles(AppContext.BaseDirectory, "*LibTorchSharp*").Length > 0)
        {
            return;
        }

        string folder = Path.Combine(Root(), $"{Version()}-{system}");
        string natives = NativeFolder(folder, system);
        if (!Directory.Exists(natives))
        {
            report($"Restoring the native libraries for {system} into {folder} (once, about 0.5 GB)…");
            await RestoreAsync(folder, cancellationToken);
        }

        if (!Directory.Exists(natives))
        {
            throw new InvalidOperationException($"No native libraries for {system} came with the packages: expected them in {natives}.");
        }

        AssemblyLoadContext.Default.ResolvingUnmanagedDll += (_, name) => Load(natives, name);
    }

    private static string NativeFolder(string folder, string system) => Path.Combine(folder, "runtimes", system, "native");

    private static string Root() => Environment.GetEnvironmentVariable(FolderVariable) is { Length: > 0 } set
        ? set
        : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.Create), "armor", "native");

    private static string Version() => typeof(NativeLibraries).Assembly.GetName().Version!.ToString(3);

    private static nint Load(string folder, string name)
    {
        string[] candidates = [name, $"lib{name}.so", $"{name}.dll", $"lib{name}.dylib", $"{name}.so"];
        foreach (string candidate in candidates)
        {
            string path = Path.Combine(folder, candidate);
            if (File.Exists(path) && NativeLibrary.TryLoad(path, out nint handle))
            {
                return handle;
            }
        }

        return 0;
    }

    private static async Task RestoreAsync(string folder, CancellationToken cancellationToken)
    {
        string project = Directory.CreateTempSubdirectory("armor-natives-").FullName;
        string built = folder + $".{Environment.ProcessId}.tmp";
        try
        {
            WriteProject(project);
            var output = new StringBuilder();
            using var process = new Process
            {
                StartInfo = new ProcessStartInfo("dotnet", ["build", "Natives.csproj", "-c", "Release", "-o", built, "-v", "quiet", "--nologo"])
                {
                    WorkingDirectory = project,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                },
            };
            process.OutputDataReceived += (_, line) => output.AppendLine(line.Data);
            process.ErrorDataReceived += (_, line) => output.AppendLine(line.Data);
            process.Start();
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            try
            {
                await process.WaitForExitAsync(cancellationToken);
            }
            catch (OperationCanceledException)
            {
                process.Kill(entireProcessTree: true);
                throw;
            }

            if (process.ExitCode != 0)
            {
                throw new InvalidOperationException($"Restoring the native libraries failed (exit code {process.ExitCode}):{Environment.NewLine}{output}");
            }

            // Another run may have been quicker; its folder is as good.
            if (!Directory.Exists(folder))
            {
                Directory.CreateDirectory(Path.GetDirectoryName(folder)!);
                Directory.Move(built, folder);
            }
        }
        finally
        {
            Delete(project);
            Delete(built);
        }
    }

    private static void Delete(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static void WriteProject(string folder)
    {
        Assembly assembly = typeof(NativeLibraries).Assembly;
        string packages = assembly.GetCustomAttributes<AssemblyMetadataAttribute>().First(attribute => attribute.Key == "ArmorNativePackages").Value!;
        Dictionary<string, string> versions = packages.Split('|').Select(pair => pair.Split('=')).ToDictionary(pair => pair[0], pair => pair[1]);
        string versionItems = string.Concat(versions.Select(pair => $"<PackageVersion Include=\"{pair.Key}\" Version=\"{pair.Value}\" />"));
        File.WriteAllText(Path.Combine(folder, "Natives.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <TargetFramework>net10.0</TargetFramework>
                <ManagePackageVersionsCentrally>true</ManagePackageVersionsCentrally>
                <ArmorUsesTorch>true</ArmorUsesTorch>
                <ArmorUsesOnnxRuntime>true</ArmorUsesOnnxRuntime>
                <CopyLocalLockFileAssemblies>true</CopyLocalLockFileAssemblies>
                <CreateHardLinksForCopyLocalIfPossible>true</CreateHardLinksForCopyLocalIfPossible>
              </PropertyGroup>
              <ItemGroup>{versionItems}</ItemGroup>
              <ItemGroup><PackageReference Include="TorchSharp" /><PackageReference Include="ScottPlot" /><PackageReference Include="SkiaSharp" /></ItemGroup>
              <Import Project="TorchNative.targets" />
              <Import Project="OnnxRuntimeNative.targets" />
            </Project>
            """);
        foreach (string name in new[] { "TorchNative.targets", "WeakenSymbolVersion.cs", "OnnxRuntimeNative.targets" })
        {
            using Stream source = assembly.GetManifestResourceStream(name)!;
            using FileStream target = File.Create(Path.Combine(folder, name));
            source.CopyTo(target);
        }

        // Nothing from folders above, and no source to compile but the assembly's own attributes.
        File.WriteAllText(Path.Combine(folder, "Directory.Build.props"), "<Project><PropertyGroup><EnableDefaultCompileItems>false</EnableDefaultCompileItems></PropertyGroup></Project>");
        File.WriteAllText(Path.Combine(folder, "Directory.Build.targets"), "<Project />");
        File.WriteAllText(Path.Combine(folder, "Directory.Packages.props"), "<Project />");
    }
}
