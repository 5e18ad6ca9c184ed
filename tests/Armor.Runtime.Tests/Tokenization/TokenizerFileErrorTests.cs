using System.Text.Json.Nodes;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Tests.Tokenization;

/// <summary>Tokenizer files that lie or that we do not read: each error names the file, what was expected and what was found.</summary>
public sealed class TokenizerFileErrorTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCase("model.type", "\"Unigram\"", "Unigram")]
    [TestCase("model.type", "\"WordPiece\"", "WordPiece")]
    [TestCase("model.type", "7", "model.type")]
    [TestCase("model.vocab", "[]", "model.vocab")]
    [TestCase("model.vocab", "{}", "empty")]
    [TestCase("model.vocab", """{"a": 1, "b": 1}""", "repeats")]
    [TestCase("model.vocab", """{"a": -1}""", "-1")]
    [TestCase("model.vocab", """{"a": 3.5}""", "3.5")]
    [TestCase("model.vocab", """{"a": 2147483647}""", "2147483647")]
    [TestCase("model.merges", "null", "model.merges")]
    [TestCase("model.merges", """["a"]""", "model.merges[0]")]
    [TestCase("model.merges", """["a b c"]""", "model.merges[0]")]
    [TestCase("model.merges", """[["a"]]""", "model.merges[0]")]
    [TestCase("model.merges", """["a b", "q q"]""", "model.merges[1]")]
    [TestCase("model.byte_fallback", "true", "both")]
    [TestCase("model.dropout", "0.1", "dropout")]
    [TestCase("model.continuing_subword_prefix", "\"##\"", "##")]
    [TestCase("normalizer", """{"type": "Lowercase"}""", "Lowercase")]
    [TestCase("normalizer", """{"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"}""", "Replace")]
    [TestCase("pre_tokenizer", "null", "neither")]
    [TestCase("pre_tokenizer", """{"type": "BertPreTokenizer"}""", "BertPreTokenizer")]
    [TestCase("pre_tokenizer", """{"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated"}""", "((")]
    [TestCase("pre_tokenizer", """{"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Contiguous"}""", "Contiguous")]
    [TestCase("pre_tokenizer", """{"type": "Metaspace", "replacement": "_"}""", "_")]
    [TestCase("added_tokens", """[{"id": 0, "content": "x"}]""", "added_tokens[0]")]
    [TestCase("added_tokens", """[{"id": "0", "content": "x"}]""", "added_tokens[0]")]
    [TestCase("post_processor", """{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<bos>"}}]}""", "<bos>")]
    [TestCase("model", "3", "model")]
    public void BrokenPartIsNamed(string place, string json, string named)
    {
        JsonObject file = TinyTokenizer.ByteLevel([("a", "b")]);
        string[] path = place.Split('.');
        JsonNode owner = path.Length == 1 ? file : file[path[0]]!;
        owner[path[^1]] = JsonNode.Parse(json);
        TinyTokenizer.Write(folder.Path, file);

        Assert.That(
            () => ModelTokenizer.Load(folder.Path),
            Throws.TypeOf<CheckpointException>().With.Message.Contains(named).And.Message.Contains(folder.File("tokenizer.json")));
    }

    [TestCase("")]
    [TestCase("{")]
    [TestCase("[]")]
    [TestCase("null")]
    [TestCase("{}")]
    public void FilesThatAreNoTokenizerAreRefused(string text)
    {
        File.WriteAllText(folder.File("tokenizer.json"), text);
        Assert.That(() => ModelTokenizer.Load(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains("tokenizer.json"));
    }

    [Test]
    public void FolderWithoutTokenizerIsNamed() => Assert.That(
        () => ModelTokenizer.Load(folder.Path),
        Throws.TypeOf<CheckpointException>().With.Message.Contains(folder.Path).And.Message.Contains("tokenizer.model"));

    [Test]
    public void DamagedSentencePieceModelIsRefused([Values(0, 1, 7, 100)] int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        File.WriteAllBytes(folder.File("tokenizer.model"), bytes);
        Assert.That(() => ModelTokenizer.Load(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains("tokenizer.model"));
    }

    [Test]
    public void VocabularyWithoutAByteIsRefused()
    {
        JsonObject file = TinyTokenizer.ByteLevel([]);
        file["model"]!["vocab"]!.AsObject().Remove("~");
        TinyTokenizer.Write(folder.Path, file);
        Assert.That(() => ModelTokenizer.Load(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains("byte 0x7E"));
    }

    [TestCase("Q W", "model.merges[0]")]
    [TestCase("<think>", "added_tokens[2]")]
    [TestCase("~", "model.vocab")]
    public void LoneSurrogatesAreRefused(string replaced, string named)
    {
        TinyTokenizer.Write(folder.Path, TinyTokenizer.ByteLevel([("Q", "W")]));
        string path = folder.File("tokenizer.json");
        string text = File.ReadAllText(path);
        string json = System.Text.Json.JsonSerializer.Serialize(replaced);
        Assert.That(text, Does.Contain(json));
        File.WriteAllText(path, text.Replace(json, "\"\\ud800\"", StringComparison.Ordinal));
        Assert.That(() => ModelTokenizer.Load(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains(named));
    }
}
