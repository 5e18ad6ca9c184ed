namespace Armor.Cli.Tests.Commands;

/// <summary>ONNX in and out of the tool.</summary>
public sealed class OnnxCommandTests
{
    private TemporaryFolder folder = null!;
    private string model = null!;

    [OneTimeSetUp]
    public void WriteModel()
    {
        folder = new TemporaryFolder();
        model = TinyModel.Write(folder.File("model"));
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task ExportWritesADecoderAndTellsHowNearItIs()
    {
        ToolResult result = await Tool.RunAsync("export", model, "--format", "onnx", "--out", folder.File("exported"), "--storage", "bfloat16", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(
            result.Json.EnumerateObject().Select(member => member.Name), Is.EqualTo((string[])["format", "linears", "bytes", "seconds", "prefillDifference", "decodeDifference"]));
        Assert.That(result.Json.GetProperty("decodeDifference").GetDouble(), Is.LessThan(1e-4));
        Assert.That(result.Json.GetProperty("bytes").GetInt64(), Is.EqualTo(new FileInfo(folder.File("exported/model.onnx")).Length));
        Assert.That(File.Exists(folder.File("exported/tokenizer.json")), Is.True);

        ToolResult text = await Tool.RunAsync("export", model, "--format", "onnx", "--out", folder.File("again"), "--external-data", "--no-verify");
        Assert.That(text.Code, Is.Zero, text.ToString());
        Assert.That(text.Output, Does.Contain("7 linears written as onnx").And.Contain("Not verified"));
        Assert.That(File.Exists(folder.File("again/model.onnx.data")), Is.True);
    }

    [Test]
    public async Task PruneTakesAnOnnxModelByTheSameCommand()
    {
        string onnx = folder.File("decoder");
        string calibration = TinyModel.WriteText(folder.File("calibration.txt"), 12, seed: 1);
        ToolResult export = await Tool.RunAsync("export", model, "--format", "onnx", "--out", onnx, "--storage", "bfloat16", "--no-verify");
        Assert.That(export.Code, Is.Zero, export.ToString());

        string pruned = folder.File("pruned.onnx");
        string[] command = ["prune", Path.Combine(onnx, "model.onnx"), "--calibration", calibration, "--preset", "fast", "--calibrate", "dense", "--out"];
        ToolResult result = await Tool.RunAsync([.. command, pruned, "--json"]);
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Json.EnumerateObject().Select(member => member.Name), Is.EqualTo((string[])["layers", "bytes", "denseBytes", "seconds"]));
        Assert.That(result.Json.GetProperty("layers").GetArrayLength(), Is.EqualTo(7));
        Assert.That(result.Error, Does.Contain("MatMul 'head' is left as it is: it is a head"));
        Assert.That(File.Exists(pruned), Is.True);

        ToolResult text = await Tool.RunAsync([.. command, folder.File("again.onnx"), "--external-data"]);
        Assert.That(text.Code, Is.Zero, text.ToString());
        Assert.That(text.Output, Does.Contain("7 weights in").And.Contain("1 products left as they are"));
        Assert.That(File.Exists(folder.File("again.onnx.data")), Is.True);

        ToolResult taken = await Tool.RunAsync([.. command, pruned]);
        Assert.That(taken.Code, Is.EqualTo(1));
        Assert.That(taken.Error, Does.Contain("exists already"));
    }

    [Test]
    public async Task OptionsOfCheckpointsAreRefusedForOnnxAndTheOtherWayRound()
    {
        string text = TinyModel.WriteText(folder.File("text.txt"), 3, seed: 1);
        ToolResult result = await Tool.RunAsync("prune", folder.File("model.onnx"), "--out", folder.File("never"), "--calibration", text, "--core-type", "int8");
        Assert.That(result.Code, Is.EqualTo(2));
        Assert.That(result.Error, Does.Contain("--core-type is for checkpoints"));
        result = await Tool.RunAsync("prune", model, "--out", folder.File("never"), "--calibration", text, "--heads");
        Assert.That(result.Code, Is.EqualTo(2));
        Assert.That(result.Error, Does.Contain("--heads is for ONNX models"));
        result = await Tool.RunAsync("prune", folder.File("none.onnx"), "--out", folder.File("never"), "--calibration", text);
        Assert.That(result.Code, Is.EqualTo(1));
        Assert.That(result.Error, Does.Contain("none.onnx: the ONNX file does not exist"));
    }

    [Test]
    public async Task OptionsOfOneFormatAreRefusedForAnother()
    {
        ToolResult result = await Tool.RunAsync("export", model, "--format", "dense", "--out", folder.File("never"), "--external-data");
        Assert.That(result.Code, Is.EqualTo(2));
        Assert.That(result.Error, Does.Contain("--external-data is for --format onnx"));
        Assert.That(Directory.Exists(folder.File("never")), Is.False);
    }
}
