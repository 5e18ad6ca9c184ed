using Armor.Cli.Hosting;

namespace Armor.Cli.Commands;

/// <summary>The folder beside an output in which long runs keep what can be resumed.</summary>
internal static class Workspaces
{
    /// <summary>Does work that can be resumed; says so where it is cancelled.</summary>
    internal static async Task<T> RunAsync<T>(CommandSession session, string target, Func<Task<T>> work)
    {
        try
        {
            return await work().ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (Directory.Exists(Of(target)))
        {
            session.Note($"armor: what is finished lies in {Of(target)}; the same command with --resume goes on from there.");
            throw;
        }
    }

    private static string Of(string target) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(target)) + ".partial";
}
