using Armor.Core.Evaluation.Tasks.Data;
using Armor.Core.Evaluation.Tasks.Definitions;
using Parquet.Serialization;

namespace Armor.Core.Tests.Evaluation.Tasks;

public sealed class TaskDataTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void SetUp() => folder = new TemporaryFolder();

    [TearDown]
    public void TearDown() => folder.Dispose();

    [TestCase("""{"goal":"g","sol1":"a","sol2":"b"}""", "row 2, field \"label\": expected a whole number from 0 to 1, found no such field among goal, sol1, sol2")]
    [TestCase("""{"goal":"g","sol1":"a","sol2":"b","label":-1}""", "field \"label\": expected a whole number from 0 to 1, found -1")]
    [TestCase("""{"goal":7,"sol1":"a","sol2":"b","label":1}""", "field \"goal\": expected a text, found 7")]
    [TestCase("""{"goal":null,"sol1":"a","sol2":"b","label":1}""", "field \"goal\": expected a text, found null")]
    [TestCase("""{"goal":"\ud800","sol1":"a","sol2":"b","label":1}""", "field \"goal\": expected a text, found one that is no Unicode")]
    [TestCase("""["goal"]""", "row 2: expected an Object")]
    [TestCase("""{"goal":"g""", "row 2: expected JSON")]
    public void ABrokenRowIsNamed(string row, string expected)
    {
        TaskRows.Write(folder, "piqa/validation.jsonl", """{"goal":"g","sol1":"a","sol2":"b","label":1}""", row);

        var error = Assert.Throws<TaskDataException>(() => TaskRows.Load(folder.Path, "piqa"));
        Assert.That(error!.Message, Does.Contain(expected).And.Contain("validation.jsonl"));
    }

    [Test]
    public void WhatIsNotThereIsNamed()
    {
        Assert.That(() => TaskRows.Load(folder.File("none"), "piqa"), Throws.TypeOf<TaskDataException>().With.Message.Contains("expected a folder with the tasks' data"));
        Assert.That(() => TaskRows.Load(folder.Path, "piqa"), Throws.TypeOf<TaskDataException>().With.Message.Contains("expected the data of piqa in a folder piqa"));
        Directory.CreateDirectory(folder.File("piqa"));
        Assert.That(() => TaskRows.Load(folder.Path, "piqa"), Throws.TypeOf<TaskDataException>().With.Message.Contains("split validation"));
        Assert.That(() => TaskRows.Load(folder.Path, "juggling"), Throws.ArgumentException.With.Message.Contains("There is no task \"juggling\""));
        TaskRows.Write(folder, "piqa/validation.jsonl", """{"goal":"g","sol1":"a","sol2":"b","label":1}""");
        Assert.That(() => TaskRows.Load(folder.Path, "piqa", shots: 1), Throws.TypeOf<TaskDataException>().With.Message.Contains("expected at least 2 rows for 1 examples, found 1"));
    }

    [Test]
    public async Task ParquetGivesTheSamePromptsAsJsonLines()
    {
        TaskRows.Write(folder, "arc_easy/test.jsonl", """{"question":"Why?","choices":{"text":["x","y","z"],"label":["A","B","C"]},"answerKey":"C"}""");
        Directory.CreateDirectory(folder.File("ai2_arc/ARC-Challenge"));
        await ParquetSerializer.SerializeAsync(
            [new ArcRow { question = "Why?", choices = new ArcChoices { text = ["x", "y", "z"], label = ["A", "B", "C"] }, answerKey = "C" }],
            folder.File("ai2_arc/ARC-Challenge/test-00000-of-00001.parquet"));

        var (lines, parquet) = (TaskRows.Load(folder.Path, "arc_easy"), TaskRows.Load(folder.Path, "arc_challenge"));
        Assert.That(TaskRows.Continuations(parquet), Is.EqualTo(TaskRows.Continuations(lines)));
        Assert.That(((ChoiceItem)parquet.Prompts[0].Item).Gold, Is.EqualTo(2));
    }

    [Test]
    public void ADamagedParquetFileIsRefused()
    {
        Directory.CreateDirectory(folder.File("piqa"));
        File.WriteAllText(folder.File("piqa/validation.parquet"), "PAR1 and then nothing of the kind PAR1");

        Assert.That(() => TaskRows.Load(folder.Path, "piqa"), Throws.TypeOf<TaskDataException>().With.Message.Contains("expected a Parquet file"));
    }

#pragma warning disable IDE1006, CA1812 // the columns' own names
    private sealed class ArcRow
    {
        public string? question { get; set; }

        public ArcChoices? choices { get; set; }

        public string? answerKey { get; set; }
    }

    private sealed class ArcChoices
    {
        public List<string>? text { get; set; }

        public List<string>? label { get; set; }
    }
#pragma warning restore IDE1006, CA1812
}
