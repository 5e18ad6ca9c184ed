using Armor.Core.Calibration.Gradients;

namespace Armor.Core.Pruning.Resuming;

/// <summary>
/// The folder <c>OUT.partial</c> beside an output folder, in which a run keeps what it has finished until the output is complete:
/// <c>state.json</c> with the run's fingerprint, one file for each finished linear, the gradients' statistics, the trials of block sizes, the
/// calibration's activations at the last layer boundary, and the output while it is put together. Every file is written under another name and renamed, so a
/// kill at any moment leaves nothing half-written that counts.
/// </summary>
internal sealed class PruningWorkspace : IDisposable
{
    private const string StateName = "state.json";
    private const string LockName = ".lock";
    private const string AssemblyName = "assembled";
    private const string ActivationsName = "activations";
    private const string GradientsName = "gradients";
    private const string TrialsName = "trials";

    private readonly string folder;
    private readonly string output;
    private readonly FileStream lease;
    private State state;

    private PruningWorkspace(string output, FileStream lease, State state)
    {
        folder = FolderOf(output);
        this.output = output;
        this.lease = lease;
        this.state = state;
    }

    /// <summary>Where the output is put together before it gets its name; does not exist at first.</summary>
    public string AssemblyFolder => Path.Combine(folder, AssemblyName);

    /// <summary>Where the walk keeps its activations; need not exist.</summary>
    public string ActivationFolder => Path.Combine(folder, ActivationsName);

    /// <summary>Bytes of what the workspace holds.</summary>
    public long PresentBytes => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);

    /// <summary>Where the gradients' statistics are; need not exist.</summary>
    public string GradientFolder => Path.Combine(folder, GradientsName);

    /// <summary>Where the trials of block sizes are; need not exist.</summary>
    public string TrialFolder => Path.Combine(folder, TrialsName);

    /// <summary>The report of the run whose output has its name already, so that only the clean-up is missing; else null.</summary>
    public IReadOnlyList<LinearPruningReport>? Published => IsFilled(output) ? state.Finished : null;

    /// <summary>The workspace folder that belongs to an output folder.</summary>
    /// <param name="output">The output folder.</param>
    public static string FolderOf(string output) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(output)) + ".partial";

    /// <summary>Checks, before any work, that a run may begin.</summary>
    /// <param name="output">The output folder; missing or empty.</param>
    /// <param name="resume">Whether an earlier run's workspace may be there.</param>
    /// <exception cref="IOException">The output folder is not empty, or a workspace is there and <paramref name="resume"/> is false.</exception>
    public static void RequireFree(string output, bool resume)
    {
        string folder = FolderOf(output);
        State? earlier = State.Read(Path.Combine(folder, StateName));
        if (File.Exists(output))
        {
            throw new IOException($"The output folder {output} is a file.");
        }

        // A run that was killed between its last rename and its clean-up leaves its output beside a finished state.
        bool published = earlier?.Finished is not null && !Directory.Exists(Path.Combine(folder, AssemblyName));
        if (IsFilled(output) && !(resume && published))
        {
            throw new IOException($"The output folder {output} is not empty; expected a new or an empty folder.");
        }

        if (earlier is not null && HasParts(folder) && !resume)
        {
            throw new IOException(
                $"An earlier run to {output} was interrupted; what it finished is in {folder}. Resume it (--resume), or delete that folder to start anew.");
        }
    }

    /// <summary>Begins a run, or goes on with one.</summary>
    /// <param name="output">The output folder.</param>
    /// <param name="resume">Whether to go on where an earlier run stopped; where there is none, a new one begins.</param>
    /// <param name="fingerprint">See <see cref="RunFingerprint"/>.</param>
    /// <exception cref="IOException">Not free (see <see cref="RequireFree"/>), in use by another process, or of another fingerprint.</exception>
    public static PruningWorkspace Open(string output, bool resume, SortedDictionary<string, string> fingerprint)
    {
        output = Path.TrimEndingDirectorySeparator(Path.GetFullPath(output));
        string folder = FolderOf(output);
        Directory.CreateDirectory(folder);
        FileStream lease = Lease(folder);
        try
        {
            RequireFree(output, resume);
            string path = Path.Combine(folder, StateName);
            State? state = State.Read(path);
            if (state is null || (state.Finished is null && !HasParts(folder)))
            {
                state = State.Of(fingerprint);
                DeleteAllBut(folder, name => name == LockName);
                state.Write(path);
            }
            else
            {
                RequireSameRun(folder, state, fingerprint);
                DeleteAllBut(folder, name =>
                    name is StateName or LockName or ActivationsName or GradientsName or TrialsName || name.EndsWith(PartFile.Extension, StringComparison.Ordinal));
            }

            return new PruningWorkspace(output, lease, state);
        }
        catch
        {
            lease.Dispose();
            throw;
        }
    }

    /// <summary>The file of one finished linear.</summary>
    /// <param name="linear">Such as <c>model.layers.0.mlp.up_proj</c>.</param>
    public string PathOf(string linear) => Path.Combine(folder, linear + PartFile.Extension);

    /// <summary>Gives the assembled folder its final name. The workspace stays until <see cref="Delete"/>.</summary>
    /// <param name="report">Of every linear.</param>
    public void Publish(IEnumerable<LinearPruningReport> report)
    {
        state = state with { Finished = [.. report] };
        state.Write(Path.Combine(folder, StateName));
        if (Directory.Exists(output))
        {
            // Empty, as RequireFree saw to; fails where something has come in since.
            Directory.Delete(output);
        }

        Directory.Move(AssemblyFolder, output);
    }

    /// <summary>Deletes the activations: every linear is finished, and the output needs the room.</summary>
    public void DeleteActivations()
    {
        if (Directory.Exists(ActivationFolder))
        {
            Directory.Delete(ActivationFolder, recursive: true);
        }
    }

    /// <summary>Deletes the workspace: the run is over.</summary>
    public void Delete()
    {
        // The state goes last: while it is there, a resumed run knows the output for its own.
        DeleteAllBut(folder, name => name is StateName or LockName);
        lease.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    /// <summary>Lets go of the workspace; what is finished stays for a later run. Where nothing is, nothing stays.</summary>
    public void Dispose()
    {
        if (Directory.Exists(folder) && state.Finished is null && !HasParts(folder))
        {
            Delete();
        }

        lease.Dispose();
    }

    // Finished linears, or the gradients, which cost as much as a walk.
    private static bool HasParts(string folder) =>
        Directory.EnumerateFiles(folder, "*" + PartFile.Extension).Any() || new GradientFiles(Path.Combine(folder, GradientsName)).IsComplete;

    private static bool IsFilled(string output) => Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any();

    private static FileStream Lease(string folder)
    {
        try
        {
            return new FileStream(Path.Combine(folder, LockName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException exception)
        {
            throw new IOException($"{folder} cannot be locked for this run; is another run writing to it? {exception.Message}", exception);
        }
    }

    private static void RequireSameRun(string folder, State state, SortedDictionary<string, string> fingerprint)
    {
        IReadOnlyList<string> differences = RunFingerprint.Differences(state.Fingerprint, fingerprint);
        if (differences.Count > 0)
        {
            throw new IOException(
                $"The run in {folder} cannot be resumed, it had other inputs (delete that folder to start anew):"
                + string.Concat(differences.Select(difference => Environment.NewLine + "  " + difference)));
        }
    }

    private static void DeleteAllBut(string folder, Func<string, bool> keep)
    {
        foreach (string entry in Directory.GetFileSystemEntries(folder).Where(entry => !keep(Path.GetFileName(entry))))
        {
            if (Directory.Exists(entry))
            {
                Directory.Delete(entry, recursive: true);
            }
            else
            {
                File.Delete(entry);
            }
        }
    }
}
