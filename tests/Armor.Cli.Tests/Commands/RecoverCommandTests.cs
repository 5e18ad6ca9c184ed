using System.Text.Json;

namespace Armor.Cli.Tests.Commands;

/// <summary><c>armor recover</c> and <c>armor prune --recover</c> on a tiny random model.</summary>
public sealed class RecoverCommandTests
{
    private TemporaryFolder folder = null!;
    private string model = null!;
    private string text = null!;
    private string pruned = null!;

    [OneTimeSetUp]
    public async Task PruneModel()
    {
        folder = new TemporaryFolder();
        model = TinyModel.Write(folder.File("model"));
        text = TinyModel.WriteText(folder.File("calibration.txt"), 24, seed: 1);
        pruned = folder.File("pruned");
        ToolResult result = await Tool.RunAsync("prune", model, "--out", pruned, "--calibration", text, "--preset", "fast", "--block-size", "4");
        Assert.That(result.Code, Is.Zero, result.ToString());
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task RecoverWritesAModelNearerToTheDenseOne()
    {
        string output = folder.File("recovered");
        ToolResult result = await Tool.RunAsync(
            "recover", pruned, "--dense", model, "--calibration", text, "--out", output, "--steps", "8", "--layer-steps", "4", "--evaluate-every", "4", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        JsonElement json = result.Json;
        Assert.That(json.GetProperty("klAfter").GetDouble(), Is.LessThanOrEqualTo(json.GetProperty("klBefore").GetDouble()));
        Assert.That(json.GetProperty("phases").GetArrayLength(), Is.EqualTo(2));
        Assert.That(json.GetProperty("heldOutSequences").GetInt32(), Is.EqualTo(6));
        Assert.That(Directory.GetFiles(output).Select(Path.GetFileName), Is.EquivalentTo(Directory.GetFiles(pruned).Select(Path.GetFileName)));
        ToolResult evaluated = await Tool.RunAsync("eval", output, "--text", text, "--json");
        Assert.That(evaluated.Code, Is.Zero, evaluated.ToString());
    }

    [Test]
    public async Task RecoverPrintsForPeople()
    {
        ToolResult result = await Tool.RunAsync(
            "recover", pruned, "--dense", model, "--calibration", text, "--out", folder.File("printed"), "--steps", "2", "--layer-steps", "0");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Output, Does.Contain("end to end").And.Contain("Written to").And.Not.Contain("layer-wise"));
    }

    [Test]
    public async Task PruneRecoversInOneGo()
    {
        string output = folder.File("both");
        ToolResult result = await Tool.RunAsync(
            "prune", model, "--out", output, "--calibration", text, "--preset", "fast", "--block-size", "4", "--samples", "8", "--recover", "--recover-steps", "4", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Json.GetProperty("layers").GetArrayLength(), Is.EqualTo(7));
        Assert.That(result.Json.GetProperty("recovery").GetProperty("trainingSequences").GetInt32(), Is.EqualTo(18), "all documents, not only those of --samples");
        Assert.That(Directory.Exists(output + ".pruned"), Is.False);
    }

    [Test]
    public async Task MistakesAreNamed()
    {
        ToolResult nothing = await Tool.RunAsync(
            "recover", pruned, "--dense", model, "--calibration", text, "--out", folder.File("none"), "--steps", "0", "--layer-steps", "0");
        Assert.That((nothing.Code, nothing.Error), Is.EqualTo((2, nothing.Error)));
        Assert.That(nothing.Error, Does.Contain("nothing to do"));
        ToolResult swapped = await Tool.RunAsync("recover", model, "--dense", model, "--calibration", text, "--out", folder.File("none"));
        Assert.That(swapped.Code, Is.EqualTo(1));
        Assert.That(swapped.Error, Does.Contain("not an ARMOR checkpoint"));
        ToolResult rate = await Tool.RunAsync("recover", pruned, "--dense", model, "--calibration", text, "--out", folder.File("none"), "--learning-rate", "0");
        Assert.That(rate.Code, Is.EqualTo(2));
        Assert.That(rate.Error, Does.Contain("--learning-rate must be a positive number; found '0'"));
    }
}
