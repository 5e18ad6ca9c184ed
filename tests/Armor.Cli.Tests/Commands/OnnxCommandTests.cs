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
    public async Task OptionsOfOneFormatAreRefusedForAnother()
    {
        ToolResult result = await Tool.RunAsync("export", model, "--format", "dense", "--out", folder.File("never"), "--external-data");
        Assert.That(result.Code, Is.EqualTo(2));
        Assert.That(result.Error, Does.Contain("--external-data is for --format onnx"));
        Assert.That(Directory.Exists(folder.File("never")), Is.False);
    }
}
