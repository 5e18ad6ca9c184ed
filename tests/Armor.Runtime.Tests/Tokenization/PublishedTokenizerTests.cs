using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Armor.Runtime.Tokenization;
using Microsoft.ML.Tokenizers;

namespace Armor.Runtime.Tests.Tokenization;

/// <summary>
/// Published vocabularies. The ids were computed once by Hugging Face's own library (tokenizers 0.23) from the same files.
/// The folder llama2 holds Mistral's tokenizer.json (Llama 2's kind) beside Llama 2's tokenizer.model.
/// </summary>
[Category("SharedData")]
public sealed class PublishedTokenizerTests
{
    // Qwen's and Llama 3's patterns, written for .NET's UTF-16 with the supplementary planes left out: the texts below hold no letters there.
    private const string QwenPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private static readonly Dictionary<string, ModelTokenizer> Loaded = [];

    private static readonly string[] Texts = ["text/eval/tinystories-eval.txt", "text/eval/c4-sample.txt", "text/eval/wikitext2-test.txt"];

    [TestCase("llama2", "Hello world", new[] { 1, 22557, 1526 })]
    [TestCase("llama2", " x  y", new[] { 1, 28705, 1318, 28705, 337 })]
    [TestCase("llama2", "a\0b😀日", new[] { 1, 264, 3, 28726, 30575, 29142 })]
    [TestCase("llama2", "aaaaaaaaaaaaaaaaaaa", new[] { 1, 264, 25332, 25332, 4474 })]
    [TestCase("llama2", "\n\n\t x  ", new[] { 1, 28705, 13, 13, 12, 1318, 259 })]
    [TestCase("llama2", "I'M don'T 12345", new[] { 1, 315, 28742, 28755, 949, 28742, 28738, 28705, 28740, 28750, 28770, 28781, 28782 })]
    [TestCase("llama2", "𝐀𝐁c", new[] { 1, 28705, 243, 160, 147, 131, 243, 160, 147, 132, 28717 })]
    [TestCase("llama2", "<s>hi</s> <think>x", new[] { 1, 1, 12014, 2, 28705, 523, 24036, 28767, 28744 })]
    [TestCase("llama3_1", "Hello world", new[] { 128000, 9906, 1917 })]
    [TestCase("llama3_1", " x  y", new[] { 128000, 865, 220, 379 })]
    [TestCase("llama3_1", "a\0b😀日", new[] { 128000, 64, 188, 65, 76460, 222, 9080 })]
    [TestCase("llama3_1", "aaaaaaaaaaaaaaaaaaa", new[] { 128000, 70540, 70540, 33746 })]
    [TestCase("llama3_1", "\n\n\t x  ", new[] { 128000, 271, 197, 865, 256 })]
    [TestCase("llama3_1", "I'M don'T 12345", new[] { 128000, 40, 28703, 1541, 17773, 220, 4513, 1774 })]
    [TestCase("llama3_1", "𝐀𝐁c 𝟏𝟐𝟑", new[] { 128000, 57352, 238, 222, 57352, 238, 223, 66, 220, 57352, 253, 237, 57352, 253, 238, 57352, 253, 239 })]
    [TestCase("llama3_1", "e\u0301 \u1100\u1161\u11a8 \u212b", new[] { 128000, 68, 54939, 87189, 226, 222, 157, 227, 94, 157, 228, 101, 29753, 104 })]
    [TestCase("llama3_1", "<s>hi</s> <think>x<|end_of_text|>", new[] { 128000, 45147, 29, 6151, 524, 82, 29, 366, 27963, 29357, 128001 })]
    [TestCase("qwen3", "Hello world", new[] { 9707, 1879 })]
    [TestCase("qwen3", " x  y", new[] { 856, 220, 379 })]
    [TestCase("qwen3", "a\0b😀日", new[] { 64, 188, 65, 141334, 8903 })]
    [TestCase("qwen3", "aaaaaaaaaaaaaaaaaaa", new[] { 69440, 69440, 32646 })]
    [TestCase("qwen3", "\n\n\t x  ", new[] { 271, 197, 856, 256 })]
    [TestCase("qwen3", "I'M don'T 12345", new[] { 40, 27603, 1513, 17323, 220, 16, 17, 18, 19, 20 })]
    [TestCase("qwen3", "𝐀𝐁c 𝟏𝟐𝟑", new[] { 146527, 147822, 66, 220, 56252, 253, 237, 56252, 253, 238, 56252, 253, 239 })]
    [TestCase("qwen3", "e\u0301 \u1100\u1161\u11a8 \u212b", new[] { 963, 126804, 79252 })]
    [TestCase("qwen3", "<s>hi</s> <think>x<|end_of_text|>", new[] { 44047, 29, 6023, 522, 82, 29, 220, 151667, 87, 27, 91, 408, 3575, 4326, 91, 29 })]
    public void KnownIds(string kind, string text, int[] expected)
    {
        ModelTokenizer tokenizer = Tokenizer(kind);
        IReadOnlyList<int> tokens = tokenizer.Encode(text, parseSpecialTokens: true);
        Assert.That(tokens, Is.EqualTo(expected));
    }

    [TestCase("llama2", 32000, 1)]
    [TestCase("llama3_1", 128256, 128000)]
    [TestCase("qwen3", 151669, null)]
    public void SizesAndStarts(string kind, int size, int? begin)
    {
        Assert.That(Tokenizer(kind).VocabularySize, Is.EqualTo(size));
        Assert.That(Tokenizer(kind).BeginOfSequence, Is.EqualTo(begin));
    }

    [TestCase("qwen3", QwenPattern)]
    [TestCase("llama3_1", null)]
    public void NaiveEncodingGivesTheSameIds(string kind, string? pattern)
    {
        pattern ??= QwenPattern.Replace(@"|\p{N}|", @"|\p{N}{1,3}|", StringComparison.Ordinal);
        var naive = new NaiveBytePairEncoding(SharedData.Path($"tokenizers/{kind}/tokenizer.json"), pattern);
        foreach (string file in Texts)
        {
            // Text of the first plane in composed form: the naive encoding neither composes nor knows letters beyond it.
            string text = Regex.Replace(File.ReadAllText(SharedData.Path(file)), @"\p{Cs}|\p{M}", string.Empty);
            text = text[..Math.Min(text.Length, 250_000)];
            IReadOnlyList<int> tokens = Tokenizer(kind).Encode(text, addBeginOfSequence: false);
            Assert.That(tokens.SequenceEqual(naive.Encode(text)), Is.True, file);
        }
    }

    [TestCase("llama2", 325_947 + 82_936)]
    [TestCase("llama3_1", 288_937 + 71_355)]
    [TestCase("qwen3", 298_938 + 73_601)]
    public void LongTextsHaveTheKnownLengthAndComeBack(string kind, int expected)
    {
        ModelTokenizer tokenizer = Tokenizer(kind);
        int count = 0;
        foreach (string file in Texts[1..])
        {
            string text = File.ReadAllText(SharedData.Path(file));
            IReadOnlyList<int> tokens = tokenizer.Encode(text, parseSpecialTokens: true);
            count += tokens.Count;
            Assert.That(tokenizer.Decode(tokens) == text, Is.True, file);
        }

        Assert.That(count, Is.EqualTo(expected));
    }

    /// <summary>Llama 2's tokenizer.model written out as a tokenizer.json, as converters do, must give the same ids.</summary>
    [Test]
    public void SentencePieceModelAndItsTokenizerJsonAgree()
    {
        using var folder = new TemporaryFolder();
        string path = SharedData.Path("tokenizers/llama2/tokenizer.model");
        using FileStream stream = File.OpenRead(path);
        IReadOnlyDictionary<string, int> pieces = LlamaTokenizer.Create(stream, false, false).Vocabulary;
        TinyTokenizer.Write(folder.Path, Convert(ReadScores(File.ReadAllBytes(path)), pieces));
        ModelTokenizer json = ModelTokenizer.Load(folder.Path);
        File.Delete(folder.File("tokenizer.json"));
        File.Copy(path, folder.File("tokenizer.model"));
        ModelTokenizer model = ModelTokenizer.Load(folder.Path);

        Assert.That(model.Encode("Hello world"), Is.EqualTo((int[])[1, 15043, 3186]), "Llama 2's ids");
        Assert.That(json.BeginOfSequence, Is.EqualTo(model.BeginOfSequence));
        string text = File.ReadAllText(SharedData.Path(Texts[0]))[..60_000] + "\n";
        string[] parts =
        [
            .. text.Split('\n'), .. File.ReadAllText(SharedData.Path(Texts[1])).Split('\n').Take(60),
            "Zażółć gęślą jaźń 😀😀 日本語 \u0000\u0001 \ue000", "     x    y", "\t\t\n\n", "1234567890 3.14159", "don't I'll",
        ];
        foreach (string part in parts)
        {
            Assert.That(json.Encode(part), Is.EqualTo(model.Encode(part)), part);
            Assert.That(json.Decode(json.Encode(part)), Is.EqualTo(part));
            Assert.That(model.Decode(model.Encode(part)), Is.EqualTo(part));
        }
    }

    // Ids of Google's SentencePiece.
    [TestCase("on disk ____ to restore", new[] { 373, 8086, 903, 22359, 304, 17749 })]
    [TestCase("a ______ b", new[] { 263, 903, 7652, 29918, 289 })]
    [TestCase("x ===== ---- .....", new[] { 921, 1275, 25512, 23250, 6317, 856 })]
    [TestCase("Hello  world", new[] { 15043, 29871, 3186 })]
    public void SentencePieceIds(string text, int[] expected)
    {
        using var folder = new TemporaryFolder();
        File.Copy(SharedData.Path("tokenizers/llama2/tokenizer.model"), folder.File("tokenizer.model"));
        Assert.That(ModelTokenizer.Load(folder.Path).Encode(text, addBeginOfSequence: false), Is.EqualTo(expected));
    }

    /// <summary>On text without runs of one character, Microsoft.ML.Tokenizers agrees.</summary>
    [Test]
    public void MicrosoftTokenizersAgree()
    {
        using FileStream stream = File.OpenRead(SharedData.Path("models/stories260K/tokenizer.model"));
        LlamaTokenizer other = LlamaTokenizer.Create(stream, addBeginOfSentence: true, addEndOfSentence: false);
        ModelTokenizer tokenizer = ModelTokenizer.Load(SharedData.Path("models/stories260K"));
        foreach (string story in File.ReadAllText(SharedData.Path(Texts[0])).Split("<|endoftext|>").Take(60))
        {
            Assert.That(tokenizer.Encode(story), Is.EqualTo(other.EncodeToIds(story)), story);
        }
    }

    [TestCase("babyllama361", 256, 15_240)]
    [TestCase("stories260K", 512, 20_415)]
    public void SharedModelsGiveTheRecordedNumberOfPredictions(string name, int context, int expected)
    {
        ModelTokenizer tokenizer = ModelTokenizer.Load(SharedData.Path($"models/{name}"));
        IEnumerable<string> stories = File.ReadAllText(SharedData.Path(Texts[0])).Split("<|endoftext|>").Select(story => story.Trim()).Where(story => story.Length > 200);

        int predictions = stories.Take(60).Sum(story => Math.Min(tokenizer.Encode(story).Count, context - 1) - 1);

        Assert.That(predictions, Is.EqualTo(expected));
    }

    private static ModelTokenizer Tokenizer(string kind)
    {
        string folder = SharedData.Path($"tokenizers/{kind}");
        lock (Loaded)
        {
            return Loaded.TryGetValue(kind, out ModelTokenizer? known) ? known : Loaded[kind] = ModelTokenizer.Load(folder);
        }
    }

    /// <summary>Every way to put a piece together from two others is a merge; pieces come in order of score.</summary>
    private static JsonObject Convert(IReadOnlyDictionary<string, float> scores, IReadOnlyDictionary<string, int> ids)
    {
        var merges = new JsonArray();
        foreach ((string piece, _) in scores.Where(entry => ids[entry.Key] > 258).OrderByDescending(entry => entry.Value))
        {
            foreach ((string left, string right) in Enumerable.Range(1, piece.Length - 1).Select(cut => (piece[..cut], piece[cut..]))
                .Where(pair => ids.ContainsKey(pair.Item1) && ids.ContainsKey(pair.Item2)).OrderBy(pair => (ids[pair.Item1], ids[pair.Item2])))
            {
                merges.Add(JsonValue.Create($"{left} {right}"));
            }
        }

        JsonObject file = TinyTokenizer.ByteFallback(string.Empty, []);
        var vocabulary = new JsonObject();
        foreach ((string piece, int id) in ids)
        {
            vocabulary[piece] = id;
        }

        file["model"]!["vocab"] = vocabulary;
        file["model"]!["merges"] = merges;
        return file;
    }

    /// <summary>The scores of a SentencePiece model: its protobuf message repeats field 1, whose field 1 is a piece and field 2 a float score.</summary>
    private static Dictionary<string, float> ReadScores(byte[] file)
    {
        var scores = new Dictionary<string, float>();
        int at = 0;
        while (at < file.Length && file[at] == 0x0A)
        {
            at++;
            int end = Length() + at;
            Assert.That(file[at++], Is.EqualTo(0x0A));
            int length = Length();
            string piece = System.Text.Encoding.UTF8.GetString(file, at, length);
            at += length;
            Assert.That(file[at++], Is.EqualTo(0x15));
            scores[piece] = BitConverter.ToSingle(file, at);
            at = end;
        }

        return scores;

        int Length()
        {
            int value = 0;
            for (int shift = 0; ; shift += 7)
            {
                value |= (file[at] & 0x7F) << shift;
                if (file[at++] < 0x80)
                {
                    return value;
                }
            }
        }
    }
}
