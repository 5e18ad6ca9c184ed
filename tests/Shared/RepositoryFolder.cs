namespace Armor.Tests.Shared;

/// <summary>The repository that the running tests were built in. Source paths of the compiler won't do: a deterministic build rewrites them.</summary>
internal static class RepositoryFolder
{
    /// <summary>The folder that holds Armor.Core.sln.</summary>
    public static string Root { get; } = Find();

    /// <summary>The full path of a file or folder in the repository.</summary>
    /// <param name="relative">A path with forward slashes, such as <c>assets/armor-tiny</c>.</param>
    public static string Path(string relative) => System.IO.Path.GetFullPath(System.IO.Path.Combine(Root, relative));

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(System.IO.Path.Combine(folder.FullName, "Armor.Core.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException($"No folder above {AppContext.BaseDirectory} holds Armor.Core.sln.");
    }
}
