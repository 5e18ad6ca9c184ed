using System.Text.Json;
using Armor.Runtime.Models;

namespace Armor.Cli.Tests.Commands;

public sealed class EvalTasksTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void SetUp()
    {
        folder = new TemporaryFolder();
        TinyModel.Write(folder.File("one"));
        TinyModel.Write(folder.File("two"), seed: 4);
        Directory.CreateDirectory(folder.File("tasks/piqa"));
        File.WriteAllLines(folder.File("tasks/piqa/validation.jsonl"), Enumerable.Range(0, 12).Select(i =>
            $$"""{"goal":"g{{i}}","sol1":"{{(char)('a' + i)}}","sol2":"{{(char)('z' - i)}}","label":{{i % 2}}}"""));
        File.WriteAllText(folder.File("text.jsonl"), """{"text":"some words to be predicted"}""");
    }

    [TearDown]
    public void TearDown() => folder.Dispose();

    [Test]
    public async Task TwoModelsSideBySide()
    {
        string[] args =
        [
            "eval", folder.File("one"), "--tasks", "piqa,c4", "--task-data", folder.File("tasks"), "--task-path", $"c4={folder.File("text.jsonl")}",
            "--against", folder.File("two"), "--limit", "10", "--markdown", folder.File("out.md"), "--samples", folder.File("samples"),
            "--chart", folder.File("out.png"), "--work", folder.File("work"), "--json",
        ];
        ToolResult result = await Tool.RunAsync(args);

        Assert.That(result.Code, Is.Zero, result.ToString());
        JsonElement json = result.Json;
        double value = json.GetProperty("results").GetProperty("piqa").GetProperty("acc,none").GetDouble();
        JsonElement first = json.GetProperty("comparisons")[0];
        Assert.That(first.GetProperty("value").GetDouble(), Is.EqualTo(value));
        Assert.That(
            first.GetProperty("difference").GetDouble(),
            Is.EqualTo((first.GetProperty("onlyFirst").GetInt32() - first.GetProperty("onlyReference").GetInt32()) / 10.0).Within(1e-12));
        Assert.That(File.ReadAllText(folder.File("out.md")), Does.Contain("| piqa | acc_norm | none |").And.Contain("word_perplexity"));
        Assert.That(File.ReadAllLines(folder.File("samples/samples_piqa.jsonl")), Has.Length.EqualTo(10));
        Assert.That(new FileInfo(folder.File("out.png")).Length, Is.GreaterThan(1000));

        ToolResult torch = await Tool.RunAsync("eval", folder.File("one"), "--tasks", "piqa", "--task-data", folder.File("tasks"), "--limit", "10", "--torch", "--json");
        Assert.That(torch.Json.GetProperty("results").GetProperty("piqa").GetProperty("acc,none").GetDouble(), Is.EqualTo(value));
    }

    [Test]
    public async Task WhatTheWindowCutIsSaid()
    {
        Directory.CreateDirectory(folder.File("tasks/gsm8k"));
        File.WriteAllText(folder.File("tasks/gsm8k/test.jsonl"), $$"""{"question":"{{new string('q', 600)}}","answer":"#### 1"}""");
        ToolResult result = await Tool.RunAsync(
            "eval", folder.File("one"), "--tasks", "gsm8k", "--num-fewshot", "0", "--task-data", folder.File("tasks"), "--against", folder.File("two"));
        Assert.That(result.Code, Is.Zero, result.ToString());
        string said = string.Join(' ', result.Output.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        Assert.That(said, Does.Contain("gsm8k: 1 of 1 rows were cut at their beginning").And.Not.Contain("Of the reference"));

        File.WriteAllText(folder.File("long.txt"), $"{new string('a', 600)}<|endoftext|>short");
        ToolResult text = await Tool.RunAsync("eval", folder.File("one"), "--text", folder.File("long.txt"), "--json");
        int window = ModelConfiguration.Load(folder.File("one")).ContextLength;
        Assert.That(text.Json.GetProperty("cutSequences").GetInt32(), Is.EqualTo(1));
        Assert.That(text.Json.GetProperty("lostTokens").GetInt32(), Is.EqualTo(601 - (window - 1)));
    }

    [TestCase(2, "needs --text FILE, or --tasks")]
    [TestCase(2, "--tasks needs --task-data", "--tasks", "piqa")]
    [TestCase(2, "--tasks does not go with --text", "--tasks", "piqa", "--text", "x")]
    [TestCase(1, "There is no task \"juggling\"", "--tasks", "juggling", "--task-data", "TASKS")]
    [TestCase(1, "expected the data of boolq", "--tasks", "boolq", "--task-data", "TASKS")]
    public async Task WhatCannotBeRunIsSaid(int code, string message, params string[] more)
    {
        ToolResult result = await Tool.RunAsync(["eval", folder.File("one"), .. more.Select(each => each == "TASKS" ? folder.File("tasks") : each)]);

        Assert.That(result.Code, Is.EqualTo(code), result.ToString());
        Assert.That(result.Error, Does.Contain(message));
    }
}
