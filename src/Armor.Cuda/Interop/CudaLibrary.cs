namespace Armor.Cuda;

/// <summary>One of NVIDIA's libraries: where it was found, or where it was looked for.</summary>
/// <param name="Name">Such as NVRTC.</param>
/// <param name="Path">The file or the name that was loaded; null where none was.</param>
/// <param name="Version">The version that it reports of itself; null where it was not found or could not be asked.</param>
/// <param name="Tried">Every step of the search, with its outcome.</param>
/// <param name="Warning">What is known to be wrong with this version; null where nothing is.</param>
public sealed record CudaLibrary(string Name, string? Path, Version? Version, IReadOnlyList<string> Tried, string? Warning = null)
{
    /// <summary>Whether it was found.</summary>
    public bool IsFound => Path is not null;

    /// <summary>The name, and the version or why there is none.</summary>
    public override string ToString()
        => IsFound ? $"{Name} {Version} ({Path}){(Warning is null ? "" : $"; {Warning}")}" : $"{Name} not found: {string.Join("; ", Tried)}";
}
