using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;

namespace Armor.Core.Tests.Generation;

/// <summary>generation_config.json: what it says holds for whoever says nothing.</summary>
public sealed class RecommendedOptionsTests
{
    private TemporaryFolder folder = null!;

    [SetUp]
    public void CreateFolder() => folder = new TemporaryFolder();

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void ThereAreNoneWithoutAWordInTheFile()
    {
        using ArmorModel without = Load(null);
        using ArmorModel ends = Load("""{"bos_token_id": 1, "eos_token_id": 99, "transformers_version": "4.40.0", "max_length": 20}""");
        Assert.That(without.RecommendedOptions, Is.Null);
        Assert.That(ends.RecommendedOptions, Is.Null);
    }

    [TestCase("""{"temperature": 0.6, "top_p": 0.9}""", 0, null, 1, 0, 1, TestName = "greedy without do_sample")]
    [TestCase("""{"do_sample": false, "top_k": 5, "repetition_penalty": 1.2}""", 0, null, 1, 0, 1.2, TestName = "the penalty counts without do_sample too")]
    [TestCase("""{"do_sample": true}""", 1, 50, 1, 0, 1, TestName = "the format's own defaults")]
    [TestCase("""{"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.1, "repetition_penalty": 1.05}""", 0.6, 20, 0.95, 0.1, 1.05, TestName = "all of it")]
    [TestCase("""{"do_sample": true, "top_k": 0, "temperature": null}""", 1, null, 1, 0, 1, TestName = "a top_k of 0 is none")]
    [TestCase("""{"do_sample": true, "top_k": null}""", 1, null, 1, 0, 1, TestName = "a top_k of null is none")]
    public void TheyAreWhatTheFileSays(string json, double temperature, int? topK, double topP, double minP, double penalty)
    {
        using ArmorModel model = Load(json);
        Assert.That(
            model.RecommendedOptions,
            Is.EqualTo(new GenerationOptions { Temperature = temperature, TopK = topK, TopP = topP, MinP = minP, RepetitionPenalty = penalty })
                .UsingPropertiesComparer());
    }

    [Test]
    public void TheyHoldWhereNoOptionsAreGiven()
    {
        // Logits of the reciter differ by 64: so hot, any token may come; and a greedy one recites.
        using ArmorModel model = Load("""{"do_sample": true, "temperature": 30, "top_k": 0}""");
        int[] recited = [.. model.GenerateTokens([97], GenerationOptions.Greedy)];
        int[] drawn = [.. model.GenerateTokens([97], model.RecommendedOptions! with { MaxTokens = 6 })];
        Assert.That(recited, Is.EqualTo(new[] { 98, 99, 100 }));
        Assert.That(drawn, Is.Not.EqualTo(recited));
        Assert.That(model.GenerateTokens([97]).Take(drawn.Length), Is.EqualTo(drawn));
        Assert.That(model.Stream([97]).Select(update => update.Token).Take(drawn.Length), Is.EqualTo(drawn.Select(token => (int?)token)));
        Assert.That(model.GenerateTokenBatch([[97]])[0].Tokens.Take(drawn.Length), Is.EqualTo(drawn));
    }

    [TestCase("""{"eos_token_id": 99}""")]
    [TestCase("""{"eos_token_id": [99, 250]}""")]
    public void ItsEndsOfSequenceCountBesideThoseOfTheModel(string json)
    {
        using ArmorModel model = Load(json);
        Assert.That(model.GenerateTokens([97], GenerationOptions.Greedy), Is.EqualTo(new[] { 98 }));
        Assert.That(model.GenerateTokens([99], GenerationOptions.Greedy), Is.EqualTo(new[] { 100 }), "the end of config.json");
        Assert.That(
            model.GenerateTokens([97], GenerationOptions.Greedy with { StopAtEndOfSequence = false, MaxTokens = 3 }), Is.EqualTo(new[] { 98, 99, 100 }));
    }

    [Test]
    public void BadValuesAreNamedTogether()
    {
        Assert.That(
            () => Load("""{"do_sample": 1, "temperature": -1, "top_k": 1.5, "top_p": 0, "min_p": 2, "repetition_penalty": "x", "eos_token_id": [5, 70000]}"""),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("generation_config.json")
                .And.Message.Contains("do_sample: expected true or false, found 1")
                .And.Message.Contains("temperature: expected a number of at least 0, found -1")
                .And.Message.Contains("top_k: expected a whole number of at least 0, found 1.5")
                .And.Message.Contains("top_p: expected a number above 0 and at most 1, found 0")
                .And.Message.Contains("min_p: expected a number from 0 to 1, found 2")
                .And.Message.Contains("repetition_penalty: expected a number above 0, found \"x\"")
                .And.Message.Contains("eos_token_id: expected tokens from 0 to"));
        Assert.That(() => Load("[]"), Throws.TypeOf<CheckpointException>().With.Message.Contains("generation_config.json"));
        Assert.That(() => Load("{"), Throws.TypeOf<CheckpointException>().With.Message.Contains("generation_config.json"));
    }

    /// <summary>A model that goes on "abcd" and then ends.</summary>
    private ArmorModel Load(string? json)
    {
        string path = RecitingModel.WriteChain(folder.File(Guid.NewGuid().ToString("N")), "abcd"u8.ToArray(), context: 24);
        if (json is not null)
        {
            File.WriteAllText(Path.Combine(path, "generation_config.json"), json);
        }

        return ArmorModel.Load(path);
    }
}
