using Armor.Core.Pruning;
using Armor.Core.Pruning.Resuming;
using Armor.Runtime.Checkpoints;

namespace Armor.Core.Tests.Pruning.Resuming;

public class PruningWorkspaceTests
{
    private static readonly LinearPruningReport[] Report =
    [
        new() { Name = "q", Rows = 4, Columns = 8, OutputBlock = 1, InputBlock = 4, Loss = 0.1, StartLoss = 1.0 / 3, Seconds = 1e-3, Bytes = 7, Notes = ["raised"] },
    ];

    private TemporaryFolder folder = null!;
    private string output = null!;

    [SetUp]
    public void MakeFolder()
    {
        folder = new TemporaryFolder();
        output = folder.File("out");
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void ALeftWorkspaceIsResumedOnlyOnRequestAndOnlyByTheSameRun()
    {
        string part;
        using (PruningWorkspace first = PruningWorkspace.Open(output, resume: false, Fingerprint("a")))
        {
            part = first.PathOf("model.layers.0.mlp.up_proj");
            File.WriteAllText(part, "finished");
            File.WriteAllText(part + ".tmp", "half-written");
            Directory.CreateDirectory(first.AssemblyFolder);
        }

        Assert.That(
            () => PruningWorkspace.Open(output, resume: false, Fingerprint("a")),
            Throws.TypeOf<IOException>().With.Message.Contains("--resume").And.Message.Contains(output + ".partial"));
        Assert.That(
            () => PruningWorkspace.Open(output, resume: true, Fingerprint("b")),
            Throws.TypeOf<IOException>().With.Message.Contains("options: was a, is b"));
        Assert.That(File.Exists(part), Is.True, "a refused run leaves the earlier one alone");

        using PruningWorkspace second = PruningWorkspace.Open(output, resume: true, Fingerprint("a"));
        Assert.That(File.ReadAllText(part), Is.EqualTo("finished"));
        Assert.That(File.Exists(part + ".tmp"), Is.False);
        Assert.That(Directory.Exists(second.AssemblyFolder), Is.False);
        Assert.That(second.Published, Is.Null);
    }

    [Test]
    public void TwoRunsCannotShareAWorkspace()
    {
        using PruningWorkspace first = PruningWorkspace.Open(output, resume: false, Fingerprint("a"));
        Assert.That(
            () => PruningWorkspace.Open(output, resume: true, Fingerprint("a")),
            Throws.TypeOf<IOException>().With.Message.Contains("is another run writing to it?"));
    }

    [Test]
    public void AnOutputThatIsNotEmptyIsRefused([Values] bool resume)
    {
        Directory.CreateDirectory(output);
        Assert.That(() => PruningWorkspace.RequireFree(output, resume), Throws.Nothing);
        File.WriteAllText(Path.Combine(output, "mine.txt"), "mine");
        Assert.That(
            () => PruningWorkspace.RequireFree(output, resume),
            Throws.TypeOf<IOException>().With.Message.Contains(output + " is not empty"));
        File.WriteAllText(folder.File("file"), "mine");
        Assert.That(() => PruningWorkspace.RequireFree(folder.File("file"), resume), Throws.TypeOf<IOException>().With.Message.Contains("is a file"));
    }

    [Test]
    public void PublishingGivesTheOutputItsNameAndDeletingEndsTheRun()
    {
        Directory.CreateDirectory(output);
        using PruningWorkspace workspace = PruningWorkspace.Open(output, resume: false, Fingerprint("a"));
        Directory.CreateDirectory(workspace.AssemblyFolder);
        File.WriteAllText(Path.Combine(workspace.AssemblyFolder, "config.json"), "{}");
        workspace.Publish(Report);
        workspace.Delete();
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EqualTo(new[] { output }));
        Assert.That(File.Exists(Path.Combine(output, "config.json")), Is.True);
    }

    [Test]
    public void AKillBetweenPublishingAndDeletingLosesNothing()
    {
        using (PruningWorkspace first = PruningWorkspace.Open(output, resume: false, Fingerprint("a")))
        {
            Directory.CreateDirectory(first.AssemblyFolder);
            File.WriteAllText(Path.Combine(first.AssemblyFolder, "config.json"), "{}");
            first.Publish(Report);
        }

        using PruningWorkspace second = PruningWorkspace.Open(output, resume: true, Fingerprint("a"));
        Assert.That(second.Published, Has.Count.EqualTo(1));
        LinearPruningReport report = second.Published![0];
        Assert.That(report with { Notes = Report[0].Notes }, Is.EqualTo(Report[0]));
        Assert.That(report.Notes, Is.EqualTo(Report[0].Notes));
        second.Delete();
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.EqualTo(new[] { output }));
    }

    [Test]
    public void ARunThatFinishedNothingLeavesNothing()
    {
        PruningWorkspace.Open(output, resume: false, Fingerprint("a")).Dispose();
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Is.Empty);
    }

    [Test]
    public void AKillBeforeAnyLinearIsFinishedIsNoHindrance([Values] bool resume)
    {
        Directory.CreateDirectory(output + ".partial");
        string state = Path.Combine(output + ".partial", "state.json");
        State.Of(Fingerprint("a")).Write(state);
        using PruningWorkspace workspace = PruningWorkspace.Open(output, resume, Fingerprint("b"));
        Assert.That(State.Read(state)!.Fingerprint["options"], Is.EqualTo("b"));
    }

    [Test]
    public void AKillBeforeTheStateIsWrittenStartsAnew()
    {
        Directory.CreateDirectory(output + ".partial");
        File.WriteAllText(Path.Combine(output + ".partial", "q.safetensors"), "of no known run");
        using PruningWorkspace workspace = PruningWorkspace.Open(output, resume: true, Fingerprint("a"));
        Assert.That(File.Exists(workspace.PathOf("q")), Is.False);
    }

    [TestCase("nonsense")]
    [TestCase("{\"Version\":99,\"Fingerprint\":{}}")]
    [TestCase("null")]
    public void ADamagedStateIsNamed(string content)
    {
        Directory.CreateDirectory(output + ".partial");
        File.WriteAllText(Path.Combine(output + ".partial", "state.json"), content);
        Assert.That(
            () => PruningWorkspace.Open(output, resume: true, Fingerprint("a")),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("state.json"));
    }

    private static SortedDictionary<string, string> Fingerprint(string options) => new(StringComparer.Ordinal) { ["options"] = options };
}
