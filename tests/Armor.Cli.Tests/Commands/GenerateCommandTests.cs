using System.Text.Json;

namespace Armor.Cli.Tests.Commands;

public sealed class GenerateCommandTests
{
    private static readonly string[] Keys = ["text", "promptTokens", "tokens", "finishReason", "seconds", "promptTokensPerSecond", "tokensPerSecond"];

    private TemporaryFolder folder = null!;
    private string model = null!;
    private string reciting = null!;

    [OneTimeSetUp]
    public void WriteModels()
    {
        folder = new TemporaryFolder();
        model = TinyModel.Write(folder.File("model"));
        reciting = RecitingModel.Write(folder.File("reciting"), "abcdef");
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task TheTextAloneIsWrittenAsItComes()
    {
        ToolResult result = await Tool.RunAsync("generate", reciting, "--prompt", "xyz a", "--max-tokens", "5");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Output, Is.EqualTo("bcdef" + Environment.NewLine));
    }

    [Test]
    public async Task JsonTellsTextAndSpeed()
    {
        ToolResult result = await Tool.RunAsync("generate", reciting, "--prompt", "a", "--max-tokens", "3", "--threads", "1", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        JsonElement json = result.Json;
        Assert.That(json.EnumerateObject().Select(member => member.Name), Is.EqualTo(Keys));
        Assert.That(json.GetProperty("text").GetString(), Is.EqualTo("bcd"));
        Assert.That(json.GetProperty("promptTokens").GetInt32(), Is.EqualTo(2), "the start of the sequence and the letter");
        Assert.That(json.GetProperty("tokens").GetInt32(), Is.EqualTo(3));
        Assert.That(json.GetProperty("finishReason").GetString(), Is.EqualTo("maxTokens"));
        foreach (string speed in Keys[4..])
        {
            Assert.That(json.GetProperty(speed).GetDouble(), Is.Positive, speed);
        }

        JsonElement stopped = (await Tool.RunAsync("generate", reciting, "--prompt", "a", "--stop", "z", "--stop", "de", "--json")).Json;
        Assert.That(stopped.GetProperty("text").GetString(), Is.EqualTo("bc"));
        Assert.That(stopped.GetProperty("finishReason").GetString(), Is.EqualTo("stopString"));
    }

    [TestCase("int8")]
    [TestCase("float32")]
    [TestCase("stored")]
    public async Task TheHeadMayBeHeldInAnotherType(string type)
    {
        ToolResult result = await Tool.RunAsync("generate", reciting, "--prompt", "a", "--max-tokens", "3", "--head", type);
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Output, Is.EqualTo("bcd" + Environment.NewLine));
    }

    [Test]
    public async Task TheSameSeedGivesTheSameText()
    {
        async Task<string> Draw(string seed) =>
            (await Tool.RunAsync("generate", model, "--prompt", "x", "--temperature", "2", "--seed", seed, "--max-tokens", "20", "--json")).Json.GetProperty("text").GetString()!;

        Assert.That(await Draw("1"), Is.EqualTo(await Draw("1")).And.Not.EqualTo(await Draw("2")));
    }

    [Test]
    public async Task CancellationExitsWith130()
    {
        ToolResult result = await Tool.RunAsync(new CancellationToken(canceled: true), "generate", model, "--prompt", "x");
        Assert.That(result.Code, Is.EqualTo(130), result.ToString());
    }
}
