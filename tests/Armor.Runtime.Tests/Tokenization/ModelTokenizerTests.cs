using System.Text;
using System.Text.Json.Nodes;
using Armor.Runtime.Tokenization;
using CsCheck;

namespace Armor.Runtime.Tests.Tokenization;

/// <summary>Tokenizers made in the tests: no data from outside.</summary>
public sealed class ModelTokenizerTests
{
    private static readonly (string Left, string Right)[] Merges =
        [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "w"), ("o", "r"), ("Ġw", "or"), ("Ġ", "Ġ")];

    private static readonly Gen<string> AnyText = Gen.OneOf(
        Gen.String,
        Gen.OneOf([.. new[] { " ", "\n", "hello", " wor", "e\u0301", "😀", "日本", "\ud83d", "12345", "<s>", "<0x0A>", "▁" }.Select(Gen.Const)]).Array[0, 12].Select(string.Concat));

    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void ByteLevelMergesByRankInsideThePiecesOfThePattern([Values] bool pairs)
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel(Merges, pairs: pairs));

        string[] names = [.. tokenizer.Encode("hello world", addBeginOfSequence: false).Select(id => tokenizer.IdToToken(id)!)];

        Assert.That(names, Is.EqualTo((string[])["hello", "Ġwor", "l", "d"]));
    }

    [Test]
    public void LowestRankWinsAndLeftmostAmongEquals()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel([("b", "c"), ("a", "b"), ("a", "a"), ("aa", "a")]));

        Assert.That(Names(tokenizer, "abc"), Is.EqualTo((string[])["a", "bc"]));
        Assert.That(Names(tokenizer, "aaaaa"), Is.EqualTo((string[])["aa", "aaa"]));
    }

    [Test]
    public void IgnoreMergesTakesAWholePieceFromTheVocabulary()
    {
        JsonObject file = TinyTokenizer.ByteLevel([("x", "y")]);
        file["model"]!["vocab"]!["xyz"] = 300;
        Assert.That(Names(Load(file), "xyz"), Is.EqualTo((string[])["xy", "z"]));

        file["model"]!["ignore_merges"] = true;
        Assert.That(Names(Load(file), "xyz"), Is.EqualTo((string[])["xyz"]));
    }

    [Test]
    public void TemplateGivesTheStartOfASequence()
    {
        ModelTokenizer with = Load(TinyTokenizer.ByteLevel(Merges));
        Assert.That(with.BeginOfSequence, Is.EqualTo(with.SpecialTokens["<s>"]));
        Assert.That(with.Encode("h")[0], Is.EqualTo(with.BeginOfSequence));
        Assert.That(with.Encode(string.Empty), Is.EqualTo((int[])[with.BeginOfSequence!.Value]));
        Assert.That(with.Encode(string.Empty, addBeginOfSequence: false), Is.Empty);

        ModelTokenizer without = Load(TinyTokenizer.ByteLevel(Merges, begin: null));
        Assert.That(without.BeginOfSequence, Is.Null);
        Assert.That(without.Encode("h"), Has.Count.EqualTo(1));
    }

    [Test]
    public void ConfigurationGivesTheStartWhereThereIsNoTemplate()
    {
        File.WriteAllText(folder.File("tokenizer_config.json"), """{"add_bos_token": true, "bos_token": {"content": "<s>"}}""");
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel(Merges, begin: null));

        Assert.That(tokenizer.BeginOfSequence, Is.EqualTo(tokenizer.SpecialTokens["<s>"]));
    }

    [Test]
    public void SpecialTokensInTextAreCharactersUnlessAskedFor()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel(Merges));
        int end = tokenizer.SpecialTokens["</s>"];

        Assert.That(tokenizer.Encode("a</s>", addBeginOfSequence: false, parseSpecialTokens: true), Is.EqualTo((int[])[tokenizer.TokenToId("a")!.Value, end]));
        Assert.That(tokenizer.Encode("a</s>", addBeginOfSequence: false), Does.Not.Contain(end).And.Count.EqualTo(5));
        Assert.That(tokenizer.Encode("<think>", addBeginOfSequence: false), Is.EqualTo((int[])[tokenizer.TokenToId("<think>")!.Value]), "an added token, not special");
        Assert.That(tokenizer.Decode([tokenizer.TokenToId("a")!.Value, end]), Is.EqualTo("a"));
        Assert.That(tokenizer.Decode([tokenizer.TokenToId("a")!.Value, end], skipSpecialTokens: false), Is.EqualTo("a</s>"));
    }

    [Test]
    public void ByteLevelTextComesBack()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel(Merges, @"\p{N}{1,3}| ?\p{L}+|\s+(?!\S)|\s+"));
        AnyText.Sample(text => tokenizer.Decode(tokenizer.Encode(text)) == Valid(text) && OneByOne(tokenizer, tokenizer.Encode(text)) == Valid(text));
    }

    [Test]
    public void ByteFallbackTextComesBack()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteFallback("▁helowrd😀", [("▁", "h"), ("l", "l"), ("▁", "▁"), ("o", "r")]));
        // "▁" is how the vocabulary writes a space, so that it cannot come back as itself.
        AnyText.Sample(text => tokenizer.Decode(tokenizer.Encode(text)) == Valid(text).Replace('▁', ' ')
            && OneByOne(tokenizer, tokenizer.Encode(text)) == Valid(text).Replace('▁', ' '));
    }

    [Test]
    public void ByteFallbackSpellsWhatTheVocabularyLacks()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteFallback("▁ab", [("▁", "a")]));

        Assert.That(Names(tokenizer, "a bé"), Is.EqualTo((string[])["▁a", "▁", "b", "<0xC3>", "<0xA9>"]));
        Assert.That(Names(tokenizer, "</s>a", special: true), Is.EqualTo((string[])["</s>", "▁a"]), "a stretch after a special token gets its own space");
    }

    [Test]
    public void CodePointsAboveTheFirstPlaneAreLettersToThePattern()
    {
        // 𝐀 (U+1D400) is a letter of two UTF-16 units; \p{L}+ must take both letters, and {1,1} one code point.
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel([("¿", "ð")], @"\p{L}+|\p{N}{1,1}"));
        string[] letters = Names(tokenizer, "𝐿𝐿");
        Assert.That(letters, Does.Contain("¿ð"), "the last byte of one letter merges with the first of the next");
    }

    [Test]
    public void UnknownBytesAreLeftToTheDecoder()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel([]));
        TokenDecoder decoder = tokenizer.CreateDecoder();

        Assert.That(decoder.Append(0xF0), Is.Empty);
        Assert.That(decoder.Append(0x9F), Is.Empty);
        Assert.That(decoder.Append(0x98), Is.Empty);
        Assert.That(decoder.Append(0x80), Is.EqualTo("😀"));
        Assert.That(decoder.Append(0xF0), Is.Empty);
        Assert.That(decoder.Append('x'), Is.EqualTo("\ufffdx"));
        Assert.That(decoder.Append(0xE2), Is.Empty);
        Assert.That(decoder.Finish(), Is.EqualTo("\ufffd"));
    }

    [Test]
    public void IdsOutsideTheVocabularyAreRefused()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel([]));
        Assert.That(() => tokenizer.Decode([tokenizer.VocabularySize]), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => tokenizer.Decode([-1]), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void MetaspacePutsItsMarkWhereTheSchemeSays([Values("always", "first", "never")] string scheme)
    {
        JsonObject file = TinyTokenizer.ByteFallback("▁ab", [("▁", "a")]);
        file["normalizer"] = null;
        file["pre_tokenizer"] = JsonNode.Parse($$"""{"type":"Metaspace","replacement":"▁","prepend_scheme":"{{scheme}}","split":false}""");
        ModelTokenizer tokenizer = Load(file);

        string[] expected = scheme switch
        {
            "always" => ["▁a", "▁", "b", "</s>", "▁a"],
            "first" => ["▁a", "▁", "b", "</s>", "a"],
            _ => ["a", "▁", "b", "</s>", "a"],
        };
        Assert.That(Names(tokenizer, "a b</s>a", special: true), Is.EqualTo(expected));
    }

    [Test]
    public void LongRunsTakeNoQuadraticTime()
    {
        ModelTokenizer tokenizer = Load(TinyTokenizer.ByteLevel([("Ġ", "Ġ"), ("ĠĠ", "ĠĠ")]));
        Assert.That(tokenizer.Encode(new string(' ', 400_000), addBeginOfSequence: false), Has.Count.EqualTo(100_000));
    }

    private static string Valid(string text) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));

    private static string OneByOne(ModelTokenizer tokenizer, IEnumerable<int> tokens)
    {
        TokenDecoder decoder = tokenizer.CreateDecoder();
        return string.Concat(tokens.Select(decoder.Append)) + decoder.Finish();
    }

    private static string[] Names(ModelTokenizer tokenizer, string text, bool special = false) =>
        [.. tokenizer.Encode(text, addBeginOfSequence: false, parseSpecialTokens: special).Select(id => tokenizer.IdToToken(id)!)];

    private ModelTokenizer Load(JsonNode file)
    {
        TinyTokenizer.Write(folder.Path, file);
        return ModelTokenizer.Load(folder.Path);
    }
}
