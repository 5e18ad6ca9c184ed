namespace Armor.Tests.Shared;

/// <summary>Finds the data that lies beside the repository (<c>../shared/data</c>) and is never committed to it.</summary>
internal static class SharedData
{
    /// <summary>The full path of a file or folder under <c>shared/data</c>; ignores the running test, with the reason, when it is missing.</summary>
    /// <param name="relative">A path with forward slashes, such as <c>models/babyllama361</c>.</param>
    public static string Path(string relative)
    {
        var path = RepositoryFolder.Path("../shared/data/" + relative);
        if (!File.Exists(path) && !Directory.Exists(path))
        {
            Assert.Ignore($"The shared data '{relative}' is missing: looked for {path}.");
        }

        return path;
    }
}
