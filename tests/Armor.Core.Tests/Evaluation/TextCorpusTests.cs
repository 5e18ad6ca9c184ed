using Armor.Core.Evaluation;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Tests.Evaluation;

public sealed class TextCorpusTests
{
    private TemporaryFolder folder = null!;
    private ModelTokenizer tokenizer = null!;

    [OneTimeSetUp]
    public void LoadTokenizer()
    {
        folder = new TemporaryFolder();
        tokenizer = ByteTokenizer.Write(folder.Path);
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void DocumentsAreTrimmedAndShortOnesLeftOut()
    {
        string text = "  one \n<|endoftext|>\n\n<|endoftext|>three three<|endoftext|>  four\tfour  ";
        Assert.That(TextCorpus.SplitDocuments(text), Is.EqualTo((string[])["one", "three three", "four\tfour"]));
        Assert.That(TextCorpus.SplitDocuments(text, minimumLength: 9), Is.EqualTo((string[])["three three"]), "9 characters or fewer are left out");
        Assert.That(TextCorpus.SplitDocuments("a\n\nb", "\n\n"), Is.EqualTo((string[])["a", "b"]));
        Assert.That(TextCorpus.SplitDocuments(" a\nb ", string.Empty), Is.EqualTo((string[])["a\nb"]));
        Assert.That(TextCorpus.SplitDocuments("  "), Is.Empty);
    }

    [Test]
    public void SequencesStartWithTheStartAndAreCut()
    {
        int[][] sequences = [.. TextCorpus.TokenizeDocuments(["abc", "abcdefgh", ""], tokenizer, 6)];
        int begin = tokenizer.BeginOfSequence!.Value;
        Assert.That(sequences, Is.EqualTo((int[][])[[begin, 'a', 'b', 'c'], [begin, 'a', 'b', 'c', 'd']]));
        Assert.That(() => TextCorpus.TokenizeDocuments(["abc"], tokenizer, 2), Throws.TypeOf<EvaluationException>().With.Message.Contains("context"));
    }

    [Test]
    public void WhatIsCutOffIsCounted()
    {
        DocumentSequences all = TextCorpus.FitDocuments(["abc", "abcdefgh", "abcd", "abcde"], tokenizer, 6);
        Assert.That(all.Sequences, Is.EqualTo(TextCorpus.TokenizeDocuments(["abc", "abcdefgh", "abcd", "abcde"], tokenizer, 6)));
        Assert.That((all.CutSequences, all.LostTokens), Is.EqualTo((2, 4L + 1)), "five tokens fit, the start among them");
        DocumentSequences first = TextCorpus.FitDocuments(["abc", "", "abcd", "abcde"], tokenizer, 6, most: 2);
        Assert.That((first.Sequences.Count, first.CutSequences, first.LostTokens), Is.EqualTo((2, 0, 0L)));
    }

    [Test]
    public void WindowsAreOfOneLengthAndTheRestIsDropped()
    {
        IReadOnlyList<int[]> windows = TextCorpus.JoinedWindows("abcdefgh", tokenizer, 4, 16);
        int begin = tokenizer.BeginOfSequence!.Value;
        Assert.That(windows, Is.EqualTo((int[][])[[begin, 'a', 'b', 'c'], ['d', 'e', 'f', 'g']]));
        Assert.That(() => TextCorpus.JoinedWindows("abc", tokenizer, 17, 16), Throws.TypeOf<EvaluationException>().With.Message.Contains("16").And.Message.Contains("17"));
        Assert.That(() => TextCorpus.JoinedWindows("ab", tokenizer, 4, 16), Throws.TypeOf<EvaluationException>().With.Message.Contains("found 3"));
        Assert.That(() => TextCorpus.JoinedWindows(string.Empty, tokenizer, 4, 16), Throws.TypeOf<EvaluationException>().With.Message.Contains("found 0"));
    }
}
