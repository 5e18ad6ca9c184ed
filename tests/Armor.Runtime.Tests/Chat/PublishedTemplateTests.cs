using Armor.Runtime.Chat;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Tests.Chat;

/// <summary>
/// The templates with the published tokenizers, token by token. The expected tokens were derived by hand from the templates that the models'
/// tokenizer_config.json carry.
/// </summary>
[Category("SharedData")]
public sealed class PublishedTemplateTests
{
    private static readonly ChatTurn Question = new(ChatTurnRole.User, "Hello");

    [Test]
    public void Llama3() => AssertTokens(
        "llama3_1", new Llama3Template(), [Question],
        "<|begin_of_text|>", "<|start_header_id|>", "user", "<|end_header_id|>", "ĊĊ", "Hello", "<|eot_id|>",
        "<|start_header_id|>", "assistant", "<|end_header_id|>", "ĊĊ");

    [Test]
    public void Llama31()
    {
        AssertTokens(
            "llama3_1", Llama3Template.Dated, [new ChatTurn(ChatTurnRole.System, "You are helpful."), Question],
            "<|begin_of_text|>", "<|start_header_id|>", "system", "<|end_header_id|>", "ĊĊ", "Cut", "ting", "ĠKnowledge", "ĠDate", ":", "ĠDecember", "Ġ",
            "202", "3", "Ċ", "Today", "ĠDate", ":", "Ġ", "26", "ĠJul", "Ġ", "202", "4", "ĊĊ", "You", "Ġare", "Ġhelpful", ".", "<|eot_id|>",
            "<|start_header_id|>", "user", "<|end_header_id|>", "ĊĊ", "Hello", "<|eot_id|>", "<|start_header_id|>", "assistant", "<|end_header_id|>", "ĊĊ");
        // The ids as they stand in Llama 3.1's documentation.
        ModelTokenizer tokenizer = Tokenizer("llama3_1");
        IReadOnlyList<int> tokens = new Llama3Template().Encode([Question], tokenizer);
        Assert.That(tokens, Is.EqualTo(new[] { 128000, 128006, 882, 128007, 271, 9906, 128009, 128006, 78191, 128007, 271 }));
    }

    [Test]
    public void Qwen25() => AssertTokens(
        "qwen3", new ChatMLTemplate { DefaultSystem = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant." }, [Question],
        "<|im_start|>", "system", "Ċ", "You", "Ġare", "ĠQ", "wen", ",", "Ġcreated", "Ġby", "ĠAlibaba", "ĠCloud", ".", "ĠYou", "Ġare", "Ġa", "Ġhelpful",
        "Ġassistant", ".", "<|im_end|>", "Ċ", "<|im_start|>", "user", "Ċ", "Hello", "<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ");

    [Test]
    public void Qwen3()
    {
        var thinking = new ChatMLTemplate { LeavesOutReasoning = true };
        ChatTurn[] turns = [Question, new(ChatTurnRole.Assistant, "<think>\nA greeting.\n</think>\n\nHello!"), Question];
        string[] expected =
        [
            "<|im_start|>", "user", "Ċ", "Hello", "<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ", "Hello", "!", "<|im_end|>", "Ċ",
            "<|im_start|>", "user", "Ċ", "Hello", "<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ",
        ];
        AssertTokens("qwen3", thinking, turns, expected);
        AssertTokens("qwen3", thinking with { AnswerStart = "<think>\n\n</think>\n\n" }, turns, [.. expected, "<think>", "ĊĊ", "</think>", "ĊĊ"]);
    }

    [Test]
    public void TextAndTemplateShareATokenWhereTheyMeet()
    {
        // A text that begins with a line break makes one token with the template's own line breaks, as it does when the whole is one string.
        AssertTokens(
            "qwen3", new ChatMLTemplate(), [new ChatTurn(ChatTurnRole.User, "\nHi")],
            "<|im_start|>", "user", "ĊĊ", "Hi", "<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ");
    }

    [Test]
    public void Llama2() => AssertTokens(
        "llama2", new Llama2Template(), [Question, new ChatTurn(ChatTurnRole.Assistant, "Hello"), Question],
        "<s>", "▁[", "INST", "]", "▁Hello", "▁[", "/", "INST", "]", "▁Hello", "▁", "</s>", "<s>", "▁[", "INST", "]", "▁Hello", "▁[", "/", "INST", "]");

    [Test]
    public void UsersCannotWriteTheMarksOfPublishedTemplates()
    {
        foreach ((string name, IChatTemplate template) in new (string, IChatTemplate)[]
            { ("llama3_1", Llama3Template.Dated), ("qwen3", new ChatMLTemplate()), ("llama2", new Llama2Template()) })
        {
            ModelTokenizer tokenizer = Tokenizer(name);
            string marks = string.Concat(tokenizer.SpecialTokens.Keys);
            var special = tokenizer.SpecialTokens.Values.ToHashSet();
            IReadOnlyList<int> attack = template.Encode([new ChatTurn(ChatTurnRole.User, marks)], tokenizer);
            Assert.That(attack.Count(special.Contains), Is.EqualTo(template.Encode([Question], tokenizer).Count(special.Contains)), name);
            Assert.That(tokenizer.Decode(attack), Does.Contain(marks), name);
        }
    }

    private static ModelTokenizer Tokenizer(string name) => ModelTokenizer.Load(SharedData.Path($"tokenizers/{name}"));

    private static void AssertTokens(string name, IChatTemplate template, ChatTurn[] turns, params string[] expected)
    {
        ModelTokenizer tokenizer = Tokenizer(name);
        Assert.That(template.Encode(turns, tokenizer).Select(tokenizer.IdToToken), Is.EqualTo(expected));
        Assert.That(template.FindEndTokens(tokenizer), Is.Not.Empty);
    }
}
