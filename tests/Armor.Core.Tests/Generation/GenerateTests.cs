using System.Text;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Models;

namespace Armor.Core.Tests.Generation;

public sealed class GenerateTests
{
    private static readonly byte[] Chain = Encoding.UTF8.GetBytes("aé€😀");
    // Logits of the reciter differ by 64: so hot, any token may come.
    private static readonly GenerationOptions Hot = new() { Temperature = 30, MaxTokens = 20 };

    private TemporaryFolder folder = null!;
    private ArmorModel reciter = null!;

    [OneTimeSetUp]
    public void LoadModel()
    {
        folder = new TemporaryFolder();
        reciter = ArmorModel.Load(RecitingModel.WriteChain(folder.File("reciter"), Chain, context: 24));
    }

    [OneTimeTearDown]
    public void DeleteFolder()
    {
        reciter.Dispose();
        folder.Dispose();
    }

    [Test]
    public void PiecesAreWholeCharactersAndEndWithTheSequence()
    {
        Assert.That(reciter.Generate("a"), Is.EqualTo(new[] { "é", "€", "😀" }));
        Assert.That(reciter.Generate("so: a"), Is.EqualTo(new[] { "é", "€", "😀" }));
        Assert.That(reciter.GenerateTokens([97]), Is.EqualTo(Chain[1..].Select(value => (int)value)), "the end of sequence is left out");
    }

    [Test]
    public void TheEndOfSequenceNeedNotStop()
    {
        GenerationOptions options = GenerationOptions.Greedy with { StopAtEndOfSequence = false, MaxTokens = 11 };
        int[] expected = [.. Chain[1..].Select(value => (int)value), RecitingModel.EndOfSequence, RecitingModel.EndOfSequence];
        Assert.That(reciter.GenerateTokens([97], options), Is.EqualTo(expected));
        Assert.That(reciter.Generate("a", options), Is.EqualTo(new[] { "é", "€", "😀" }), "a token that the tokenizer does not have gives no text");
    }

    [Test]
    public void ACharacterCutShortIsReplaced()
    {
        Assert.That(reciter.Generate("a", GenerationOptions.Greedy with { MaxTokens = 3 }), Is.EqualTo(new[] { "é", "\uFFFD" }));
    }

    [TestCase(1, 24)]
    [TestCase(10, 15)]
    [TestCase(23, 2)]
    [TestCase(24, 1)]
    public void GenerationEndsWhereTheContextIsFull(int promptLength, int expected)
    {
        GenerationOptions options = GenerationOptions.Greedy with { StopAtEndOfSequence = false };
        Assert.That(reciter.GenerateTokens(new int[promptLength], options).Count(), Is.EqualTo(expected));
    }

    [Test]
    public void PiecesMakeTheDecodedWhole()
    {
        int replaced = 0;
        for (int seed = 0; seed < 20; seed++)
        {
            GenerationOptions options = Hot with { Seed = seed };
            IReadOnlyList<int> prompt = reciter.Tokenizer.Encode("aé");
            int[] tokens = [.. reciter.GenerateTokens(prompt, options).TakeWhile(token => token < 257)];
            string[] pieces = [.. reciter.Generate("aé", options with { MaxTokens = Math.Max(1, tokens.Length) })];
            if (tokens.Length > 0)
            {
                Assert.That("aé" + string.Concat(pieces), Is.EqualTo(reciter.Tokenizer.Decode([.. prompt, .. tokens])));
            }

            Assert.That(pieces, Has.None.Empty);
            replaced += pieces.Count(piece => piece.Contains('\uFFFD', StringComparison.Ordinal));
        }

        Assert.That(replaced, Is.GreaterThan(10), "hot draws give broken characters too");
    }

    [Test]
    public void TheSameSeedGivesTheSameTextAndAnotherSeedAnother()
    {
        string[] texts = [.. Enumerable.Range(0, 8).Select(seed => string.Concat(reciter.Generate("x", Hot with { Seed = seed })))];
        Assert.That(texts.Distinct().Count(), Is.EqualTo(8));
        IEnumerable<string> repeatable = reciter.Generate("x", Hot with { Seed = 3 });
        Assert.That(string.Concat(repeatable), Is.EqualTo(texts[3]));
        Assert.That(string.Concat(repeatable), Is.EqualTo(texts[3]), "each enumeration starts afresh");
    }

    [Test]
    public void GenerationsOnOneModelDoNotDisturbOneAnother()
    {
        int[][] alone = [.. Enumerable.Range(0, 6).Select(seed => Draw(seed).ToArray())];

        var interleaved = Enumerable.Range(0, 6).Select(_ => new List<int>()).ToArray();
        IEnumerator<int>[] enumerators = [.. Enumerable.Range(0, 6).Select(seed => Draw(seed).GetEnumerator())];
        while (enumerators.Select((enumerator, i) => (enumerator, i)).Count(pair => Advance(pair.enumerator, interleaved[pair.i])) > 0)
        {
        }

        Assert.That(interleaved, Is.EqualTo(alone));

        var threaded = new int[6][];
        Thread[] threads = [.. Enumerable.Range(0, 6).Select(seed => new Thread(() => threaded[seed] = [.. Draw(seed)]))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.That(threaded, Is.EqualTo(alone));

        IEnumerable<int> Draw(int seed) => reciter.GenerateTokens([97, 98 + seed], Hot with { Seed = seed, StopAtEndOfSequence = false });

        static bool Advance(IEnumerator<int> tokens, List<int> seen)
        {
            bool moved = tokens.MoveNext();
            if (moved)
            {
                seen.Add(tokens.Current);
            }

            return moved;
        }
    }

    [Test]
    public void BadCallsAreRefusedAtOnce()
    {
        Assert.Multiple(() =>
        {
            Assert.That(() => reciter.GenerateTokens([]), Throws.ArgumentException.With.Message.Contains("no tokens"));
            Assert.That(() => reciter.GenerateTokens(new int[25]), Throws.ArgumentException.With.Message.Contains("25 tokens").And.Message.Contains("24"));
            Assert.That(() => reciter.Generate(new string('x', 24)), Throws.ArgumentException.With.Message.Contains("25 tokens"));
            Assert.That(() => reciter.GenerateTokens([1, 260]), Throws.InstanceOf<ArgumentOutOfRangeException>().With.Message.Contains("260"));
            Assert.That(() => reciter.Generate("a", new GenerationOptions { TopP = 0 }), Throws.ArgumentException.With.Message.Contains("TopP"));
        });
    }

    [Test]
    public void CancellationEndsAGeneration()
    {
        using var source = new CancellationTokenSource();
        using IEnumerator<string> pieces = reciter.Generate("a", cancellationToken: source.Token).GetEnumerator();
        Assert.That(pieces.MoveNext(), Is.True);
        source.Cancel();
        Assert.That(() => pieces.MoveNext(), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void ADisposedModelRefuses()
    {
        ArmorModel model = ArmorModel.Load(folder.File("reciter"));
        GenerationSession session = model.CreateSession();
        using IEnumerator<string> pieces = model.Generate("a").GetEnumerator();
        Assert.That(pieces.MoveNext(), Is.True);
        model.Dispose();
        model.Dispose();
        Assert.Multiple(() =>
        {
            Assert.That(() => pieces.MoveNext(), Throws.InstanceOf<ObjectDisposedException>(), "under way");
            Assert.That(() => model.Generate("a"), Throws.InstanceOf<ObjectDisposedException>());
            Assert.That(() => model.GenerateTokens([1]), Throws.InstanceOf<ObjectDisposedException>());
            Assert.That(() => model.ForwardLogits([1], session, []), Throws.InstanceOf<ObjectDisposedException>());
            Assert.That(() => model.CreateSession(), Throws.InstanceOf<ObjectDisposedException>());
        });
    }

    [Test]
    public void AModelWithoutTokenizerWorksOnTokens()
    {
        using ArmorModel model = ArmorModel.Load(TinyLlama.Write(folder.File("tokens only")));
        Assert.That(model.GenerateTokens([1, 5], GenerationOptions.Greedy with { MaxTokens = 4, StopAtEndOfSequence = false }).Count(), Is.EqualTo(4));
        Assert.That(() => model.Generate("a"), Throws.TypeOf<CheckpointException>().With.Message.Contains("tokenizer"));
    }

    [TestCase("\u20AC", new[] { "\u00E9" }, FinishReason.StopString, 4)]
    [TestCase("\u00E9\u20AC\U0001F600", new string[0], FinishReason.StopString, 8)]
    [TestCase("\u20AC\u20AC", new[] { "\u00E9", "\u20AC\U0001F600" }, FinishReason.EndOfSequence, 9)]
    public void StopStringsAreFoundAcrossTokensAndNeverComeOut(string stop, string[] expected, FinishReason reason, int tokens)
    {
        // é has two tokens, € three, 😀 four.
        GenerationOptions options = GenerationOptions.Greedy with { StopStrings = ["never", stop] };
        GenerationUpdate[] updates = [.. reciter.Stream([97], options)];
        Assert.Multiple(() =>
        {
            Assert.That(string.Concat(reciter.Generate("a", options)), Is.EqualTo(string.Concat(expected)));
            Assert.That(string.Concat(updates.Select(update => update.Text)), Is.EqualTo(string.Concat(expected)));
            Assert.That(updates[^1].FinishReason, Is.EqualTo(reason));
            Assert.That(updates[..^1].Select(update => update.FinishReason), Is.All.Null);
            Assert.That(reciter.GenerateTokens([97], options).Count(), Is.EqualTo(reason == FinishReason.StopString ? tokens + 1 : tokens));
        });
    }

    [Test]
    public void TheLastUpdateTellsWhyAndHowMuch()
    {
        GenerationOptions endless = GenerationOptions.Greedy with { StopAtEndOfSequence = false };
        Assert.Multiple(() =>
        {
            Assert.That(Last([1, 97], GenerationOptions.Greedy), Is.EqualTo(new GenerationUpdate(null, "", FinishReason.EndOfSequence, 2, 9)));
            Assert.That(
                Last([97], endless with { StopTokens = [RecitingModel.EndOfSequence] }), Is.EqualTo(new GenerationUpdate(null, "", FinishReason.EndOfSequence, 1, 9)));
            Assert.That(Last([97], endless with { MaxTokens = 2 }), Is.EqualTo(new GenerationUpdate(Chain[2], "é", FinishReason.MaxTokens, 1, 2)));
            Assert.That(
                Last([.. new int[20], 97], GenerationOptions.Greedy), Is.EqualTo(new GenerationUpdate(Chain[4], "\uFFFD", FinishReason.ContextFull, 21, 4)));
        });

        GenerationUpdate Last(int[] prompt, GenerationOptions options) => reciter.Stream(prompt, options).Last();
    }

    [TestCase("babyllama361")]
    [TestCase("stories260K")]
    [Category("SharedData")]
    public void SharedModelsTellAStory(string name)
    {
        const string Prompt = "Once upon a time";
        using ArmorModel model = ArmorModel.Load(SharedData.Path($"models/{name}"));
        GenerationOptions options = GenerationOptions.Greedy with { MaxTokens = 60 };
        string[] pieces = [.. model.Generate(Prompt, options)];
        int[] tokens = [.. model.GenerateTokens(model.Tokenizer.Encode(Prompt), options)];
        string story = Prompt + string.Concat(pieces);

        Assert.That(model.Generate(Prompt, options), Is.EqualTo(pieces), "greedy generation is deterministic");
        Assert.That(story, Is.EqualTo(model.Tokenizer.Decode([.. model.Tokenizer.Encode(Prompt), .. tokens])));
        Assert.That(story, Does.StartWith("Once upon a time, there was a little"));
    }
}
