using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Armor.Cuda.Interop;

namespace Armor.Cuda.Kernels;

/// <summary>
/// Compiled kernels on disk, by the hash of source, compiler and architecture: compiling takes seconds, reading milliseconds. Files are written under a
/// temporary name and renamed, so processes may share the folder. A folder that cannot be used costs only time.
/// </summary>
/// <param name="folder">Made when it is first written to; null for no cache.</param>
internal sealed class KernelCache(string? folder)
{
    /// <summary>The user's own folder for such data; null where the system names none.</summary>
    public static string? DefaultFolder
    {
        get
        {
            var root = Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData);
            return root.Length == 0 ? null : Path.Combine(root, "armor", "cuda-kernels");
        }
    }

    /// <summary>From the cache, or compiled and put there.</summary>
    public byte[] Get(string source, int capability, IKernelCompiler compiler)
    {
        var file = FileOf(source, capability, compiler);
        if (file is not null && TryRead(file) is { } cached)
        {
            return cached;
        }

        var image = compiler.Compile(source, capability);
        if (file is not null)
        {
            TryWrite(file, image);
        }

        return image;
    }

    /// <summary>Throws a file away that the driver did not take.</summary>
    public void Remove(string source, int capability, IKernelCompiler compiler)
    {
        if (FileOf(source, capability, compiler) is { } file)
        {
            try
            {
                File.Delete(file);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                // It is not used in this run either way.
            }
        }
    }

    private string? FileOf(string source, int capability, IKernelCompiler compiler)
    {
        if (folder is null)
        {
            return null;
        }

        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{compiler.Name}\0{capability}\0{source}"));
        return Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"{Convert.ToHexStringLower(hash)[..32]}-sm_{capability}.bin"));
    }

    /// <summary>A file begins with the hash of what follows: half a file is no kernel.</summary>
    private static byte[]? TryRead(string file)
    {
        try
        {
            var bytes = File.ReadAllBytes(file);
            return bytes.Length > SHA256.HashSizeInBytes && SHA256.HashData(bytes.AsSpan(SHA256.HashSizeInBytes)).AsSpan().SequenceEqual(bytes.AsSpan(0, SHA256.HashSizeInBytes))
                ? bytes[SHA256.HashSizeInBytes..]
                : null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static void TryWrite(string file, byte[] image)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            var temporary = $"{file}.{Environment.ProcessId}.{Guid.NewGuid():N}";
            File.WriteAllBytes(temporary, [.. SHA256.HashData(image), .. image]);
            File.Move(temporary, file, overwrite: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            // Compiled again next time.
        }
    }
}
