using System.Text.Json.Serialization;
using Armor.Core.Pruning.Allocation;
using Armor.Runtime.Checkpoints;

namespace Armor.Core.Pruning.Resuming;

/// <summary>The content of <c>state.json</c>.</summary>
/// <param name="Version">Of this layout.</param>
/// <param name="Fingerprint">See <see cref="RunFingerprint"/>.</param>
/// <param name="Finished">The report, once the output is complete and about to get its name; else null.</param>
internal sealed record State(int Version, SortedDictionary<string, string> Fingerprint, LinearPruningReport[]? Finished = null)
{
    private const int CurrentVersion = 1;

    /// <summary>The state of a run that has finished no linear yet.</summary>
    /// <param name="fingerprint">See <see cref="RunFingerprint"/>.</param>
    public static State Of(SortedDictionary<string, string> fingerprint) => new(CurrentVersion, fingerprint);

    /// <summary>Reads a state; null where there is none.</summary>
    /// <param name="path">Its file.</param>
    /// <exception cref="CheckpointException">Not a state, or one of another version.</exception>
    public static State? Read(string path)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        State? state = JsonFile.Read(path, "not the state of a pruning run", ResumingJson.Default.State);
        return state?.Fingerprint is not null && state.Version == CurrentVersion
            ? state
            : throw new CheckpointException(path, "not the state of a pruning run", null, $"version {CurrentVersion}", $"version {state?.Version ?? 0}");
    }

    /// <summary>Writes the state under another name, then renames it.</summary>
    /// <param name="path">Its file.</param>
    public void Write(string path) => JsonFile.Write(path, this, ResumingJson.Default.State);
}

/// <summary>Serialisers of what a workspace holds. Numbers come back to the last bit.</summary>
[JsonSourceGenerationOptions(NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(State))]
[JsonSerializable(typeof(LinearPruningReport))]
[JsonSerializable(typeof(BlockTrial[]))]
internal sealed partial class ResumingJson : JsonSerializerContext;
