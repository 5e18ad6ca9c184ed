using Armor.Cli.Hosting;
using Armor.Core.Recovery;
using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Commands;

/// <summary><c>armor prune --recover</c>: the pruned model lies beside the output until its recovery is done.</summary>
internal static class PrunedThenRecovered
{
    /// <summary>Where the pruned model goes.</summary>
    /// <exception cref="ToolException">The output folder is not empty: better known before the pruning than after it.</exception>
    internal static string FolderOf(string target, bool resume) =>
        !resume && Directory.Exists(target) && Directory.EnumerateFileSystemEntries(target).Any()
            ? throw new ToolException($"The output folder {target} is not empty; expected a new or an empty folder.")
            : FolderOf(target);

    /// <summary>Whether an earlier run has finished the pruning.</summary>
    internal static bool IsPruned(string pruned, bool resume) => resume && ArmorCheckpoint.IsArmor(pruned);

    /// <summary>Recovers the pruned model and deletes it.</summary>
    internal static async Task<RecoveryReport> RecoverAsync(
        CommandSession session, string dense, string target, IReadOnlyList<string> texts, RecoveryOptions options)
    {
        string pruned = FolderOf(target);
        RecoveryReport report = await Workspaces.RunAsync(session, target, () => session.RunAsync("Recovering", steps => ModelRecovery.RecoverAsync(
            pruned, dense, target, texts, options, new RecoverySteps(steps), session.CancellationToken))).ConfigureAwait(false);
        Directory.Delete(pruned, recursive: true);
        return report;
    }

    private static string FolderOf(string target) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(target)) + ".pruned";
}
