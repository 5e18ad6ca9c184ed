using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Cli.Studies;
using Armor.Core.Pruning;

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
    public async Task RunsDifferInTextAndSeedAndAFinishedOneIsKept()
    {
        string[] args =
        [
            "study", "block-size", "--model", folder.File("model"), "--calibration", folder.File("calibration.txt"), "--evaluation", folder.File("evaluation.txt"),
            "--sizes", "4,8", "--runs", "2", "--work", folder.File("work"), "--json",
        ];
        ToolResult first = await Tool.RunAsync(args);
        Assert.That(first.Code, Is.Zero, first.ToString());
        double[] runs = [.. first.Json.GetProperty("rows")[0].GetProperty("runs").EnumerateArray().Select(run => run.GetDouble())];
        Assert.That(runs[0], Is.Not.EqualTo(runs[1]));

        // Three of the four runs and a piece of the last; a value that no pruning gives shows what was taken over.
        string file = folder.File("work/runs.jsonl");
        string[] lines = File.ReadAllLines(file);
        Assert.That(lines, Has.Length.EqualTo(4));
        JsonNode changed = JsonNode.Parse(lines[0])!;
        changed["Measurement"]!["DeltaNll"] = 123.5;
        File.WriteAllText(file, string.Join('\n', [changed.ToJsonString(), lines[1], lines[2], lines[3][..30]]));
        ToolResult second = await Tool.RunAsync(args);
        Assert.That(second.Code, Is.Zero, second.ToString());
        Assert.That(second.Json.GetProperty("rows")[0].GetProperty("runs")[0].GetDouble(), Is.EqualTo(123.5));
        Assert.That(second.Json.GetProperty("rows")[1].GetProperty("deltaNll").GetDouble(), Is.EqualTo(first.Json.GetProperty("rows")[1].GetProperty("deltaNll").GetDouble()));
        Assert.That(File.ReadAllLines(file), Has.Length.EqualTo(4));

        ToolResult other = await Tool.RunAsync([.. args, "--sequences", "3"]);
        Assert.That(other.Json.GetProperty("rows")[0].GetProperty("runs")[0].GetDouble(), Is.LessThan(100), "another text to measure on");
    }

    [Test]
    public void PartsOfTheTextFollowEachOther()
    {
        string[] documents = [.. Enumerable.Range(0, 300).Select(index => $"{index}")];

        IReadOnlyList<StudyVariant> variants = StudyPlans.BlockSize(documents, [4, 8], 3, ArmorPrunerOptions.Fast);

        Assert.That(variants.Select(variant => variant.Setting), Is.EqualTo(new[] { "blocks of 4", "blocks of 4", "blocks of 4", "blocks of 8", "blocks of 8", "blocks of 8" }));
        Assert.That(variants.Take(3).Select(variant => variant.Options.Seed), Is.EqualTo(new[] { 0, 1, 2 }));
        Assert.That(variants.Take(3).Select(variant => (variant.Texts[0], variant.Texts[^1], variant.Texts.Count)), Is.EqualTo(new[] { ("0", "127", 128), ("128", "255", 128), ("256", "83", 128) }));
        Assert.That(variants[4].Texts, Is.EqualTo(variants[1].Texts), "settings share their parts");
        Assert.That(StudyPlans.BlockSize(documents[..5], [4], 2, ArmorPrunerOptions.Fast)[1].Texts, Is.EqualTo(documents[..5]));
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
