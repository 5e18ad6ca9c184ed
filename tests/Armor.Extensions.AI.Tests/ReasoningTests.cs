using Armor.Runtime.Chat;
using Armor.Runtime.Generation;
using Microsoft.Extensions.AI;

namespace Armor.Extensions.AI.Tests;

public sealed class ReasoningTests
{
    [TestCase(false, "<think>\nHm.\n</think>\n\nYes.\n", "\nHm.\n", "Yes.\n")]
    [TestCase(true, "Hm.\n</think>\n\nYes.", "Hm.\n", "Yes.")]
    [TestCase(false, "Yes. <think>No</think>", "", "Yes. <think>No</think>")]
    [TestCase(false, "<thin", "", "<thin")]
    [TestCase(false, "<think></think>\n\nYes.", "", "Yes.")]
    [TestCase(false, "<think>Hm. </thin", "Hm. </thin", "")]
    [TestCase(true, "Hm. </b></think>", "Hm. </b>", "")]
    [TestCase(false, "", "", "")]
    public void ReasoningIsToldFromTheAnswerHoweverTheTextIsCut(bool isInside, string text, string reasoning, string answer)
    {
        for (int size = 1; size <= Math.Max(1, text.Length); size++)
        {
            var splitter = new ReasoningSplitter(isInside);
            AIContent[] contents =
                [.. text.Chunk(size).SelectMany(chunk => splitter.Append(new string(chunk), isLast: false).ToArray()), .. splitter.Append(string.Empty, isLast: true)];
            Assert.That(string.Concat(contents.OfType<TextReasoningContent>().Select(content => content.Text)), Is.EqualTo(reasoning), $"{size}");
            Assert.That(string.Concat(contents.OfType<TextContent>().Select(content => content.Text)), Is.EqualTo(answer), $"{size}");
        }
    }

    [Test]
    public async Task AReasoningModelsAnswerHasBoth()
    {
        using var folder = new TemporaryFolder();
        using ArmorModel model = ArmorModel.Load(RecitingModel.Write(folder.Path, "Hm</think>Yes."));
        var template = new ChatMLTemplate { LeavesOutReasoning = true, AnswerStart = "<think>\n" };
        using var client = new ArmorChatClient(model, new ArmorChatClientOptions { Generation = GenerationOptions.Greedy, Template = template });
        ChatResponse response = await client.GetResponseAsync("Well?");
        Assert.That(response.Text, Is.EqualTo("Yes."));
        Assert.That(response.Messages[0].Contents.OfType<TextReasoningContent>().Single().Text, Is.EqualTo("Hm"));
    }

    [Test]
    public void NoEffortKeepsAModelFromReasoningThatNeedNot()
    {
        var none = new ReasoningOptions { Effort = ReasoningEffort.None };
        var choosing = new ChatMLTemplate { LeavesOutReasoning = true };
        Assert.That(RequestOptions.Reason(choosing, none), Is.EqualTo(choosing with { AnswerStart = "<think>\n\n</think>\n\n" }));
        foreach (IChatTemplate template in new IChatTemplate[] { choosing with { AnswerStart = "<think>\n" }, new ChatMLTemplate(), new Llama3Template() })
        {
            Assert.That(RequestOptions.Reason(template, none), Is.SameAs(template));
        }

        Assert.That(RequestOptions.Reason(choosing, null), Is.SameAs(choosing));
    }
}
