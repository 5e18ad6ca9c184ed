using Armor.Core.Pruning.Resuming;
using Armor.Runtime.Checkpoints;

namespace Armor.Core.Pruning.Allocation;

/// <summary>The trials of a model's linears in a folder, one file a linear, so that an interrupted run does not make them again.</summary>
internal sealed class TrialFiles(string folder)
{
    private const string Extension = ".trials.json";

    /// <summary>Where activations go that the trials need; emptied at the end.</summary>
    public string StreamFolder => Path.Combine(folder, "streams");

    /// <summary>Whether a linear's trials are here.</summary>
    public bool Has(string linear) => File.Exists(PathOf(linear));

    /// <summary>Writes a linear's trials under another name, then renames the file.</summary>
    public void Write(string linear, IReadOnlyList<BlockTrial> trials)
    {
        Directory.CreateDirectory(folder);
        JsonFile.Write(PathOf(linear), [.. trials], ResumingJson.Default.BlockTrialArray);
    }

    /// <summary>Reads a linear's trials.</summary>
    /// <exception cref="CheckpointException">The file is damaged.</exception>
    public IReadOnlyList<BlockTrial> Read(string linear)
    {
        string path = PathOf(linear);
        return JsonFile.Read(path, "not the block sizes tried for a linear; delete the file to try them again", ResumingJson.Default.BlockTrialArray) is { Length: > 0 } trials
            ? trials
            : throw new CheckpointException(path, "not the block sizes tried for a linear; delete the file to try them again", null, "at least one trial", "none");
    }

    private string PathOf(string linear) => Path.Combine(folder, linear + Extension);
}
