using System.Text.Json;

namespace Armor.Cli.Tests.Commands;

public sealed class StudyCommandTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void SetUp()
    {
        folder = new TemporaryFolder();
        TinyModel.Write(folder.File("model"));
        TinyModel.WriteText(folder.File("calibration.txt"), 12, seed: 1);
        TinyModel.WriteText(folder.File("evaluation.txt"), 6, seed: 2);
    }

    [TearDown]
    public void TearDown() => folder.Dispose();

    [TestCase("calibration", 2, 3, "--sizes", "2,4", "--runs", "3")]
    [TestCase("selection", 8, 1, "--sizes", "2,4")]
    [TestCase("block-size", 2, 1, "--sizes", "4,8")]
    public async Task ShortForm(string study, int settings, int runs, params string[] more)
    {
        ToolResult result = await Tool.RunAsync(
        [
            "study", study, "--quick", "--model", folder.File("model"), "--calibration", folder.File("calibration.txt"),
            "--evaluation", folder.File("evaluation.txt"), "--chart", folder.File("chart.png"), "--json", .. more,
        ]);

        Assert.That(result.Code, Is.Zero, result.ToString());
        JsonElement rows = result.Json.GetProperty("rows");
        Assert.That(rows.GetArrayLength(), Is.EqualTo(settings));
        Assert.That(rows[0].GetProperty("runs").GetArrayLength(), Is.EqualTo(runs));
        Assert.That(
            rows[0].GetProperty("runs").EnumerateArray().Average(run => run.GetDouble()), Is.EqualTo(rows[0].GetProperty("deltaNll").GetDouble()).Within(1e-12));
        Assert.That(rows[0].GetProperty("optimiserSeconds").GetDouble(), Is.GreaterThan(0).And.LessThan(rows[0].GetProperty("seconds").GetDouble()));
        Assert.That(File.Exists(folder.File("chart.png")), Is.True);
    }

    [Test]
    public async Task TooFewDocumentsAreNamed()
    {
        ToolResult result = await Tool.RunAsync(
            "study", "calibration", "--model", folder.File("model"), "--calibration", folder.File("calibration.txt"), "--evaluation", folder.File("evaluation.txt"), "--sizes", "64");

        Assert.That(result.Code, Is.EqualTo(1), result.ToString());
        Assert.That(result.Error, Does.Contain("calibration.txt: expected at least 64 documents for a calibration of 64, found 12"));
    }
}
