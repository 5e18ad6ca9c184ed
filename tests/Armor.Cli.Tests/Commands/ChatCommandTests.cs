using System.Text.Json;
using Armor.Cli.Hosting;

namespace Armor.Cli.Tests.Commands;

public sealed class ChatCommandTests
{
    private const string Answer = "Hey, Jim!";

    private TemporaryFolder folder = null!;
    private string model = null!;

    [OneTimeSetUp]
    public void WriteModel()
    {
        folder = new TemporaryFolder();
        model = RecitingModel.Write(folder.File("model"), Answer);
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task EveryLineIsAnsweredUntilTheExit()
    {
        ToolResult result = await TalkAsync("Hello\n\nAgain\n/reset\nOnce more\n/exit\nnever asked\n", "--system", "Be kind.", "--temperature", "0");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Output, Is.EqualTo(string.Concat(Enumerable.Repeat(Answer + Environment.NewLine, 3))));
    }

    [Test]
    public async Task TheEndOfTheInputEndsTheConversation()
    {
        ToolResult result = await TalkAsync("Hello\nAgain", "--temperature", "0", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        JsonElement answers = result.Json.GetProperty("answers");
        Assert.That(answers.EnumerateArray().Select(answer => answer.GetProperty("text").GetString()), Is.EqualTo(new[] { Answer, Answer }));
        int[] prompts = [.. answers.EnumerateArray().Select(answer => answer.GetProperty("promptTokens").GetInt32())];
        Assert.That(prompts[1] - prompts[0], Is.EqualTo("Hey, Jim!".Length + "user.Again......assistant.".Length), "the second prompt holds the first turns");
    }

    [Test]
    public async Task AConversationThatOutgrowsTheContextCanGoOn()
    {
        ToolResult result = await TalkAsync(new string('x', 300) + "\nHello\n", "--temperature", "0");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Error, Does.Contain("256").And.Contain("/reset"));
        Assert.That(result.Output, Is.EqualTo(Answer + Environment.NewLine));
    }

    [Test]
    public async Task AnInterruptionStopsTheAnswerAndNotTheConversation()
    {
        string all = string.Concat(Enumerable.Range('0', 70).Select(code => (char)code));
        string talkative = RecitingModel.Write(folder.File("talkative"), all, context: 1024);
        using var interruption = new Interruption();
        using var output = new InterruptingWriter(interruption);
        using var error = new StringWriter();
        int code = await ArmorTool.RunAsync(
            ["chat", talkative, "--temperature", "0"], output, error, interruption.Token, new StringReader("One\nTwo\n"), interruption);
        Assert.That(code, Is.Zero, error.ToString());
        string[] lines = output.ToString().Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries);
        Assert.That(lines, Has.Length.EqualTo(2));
        Assert.That(all, Does.StartWith(lines[0]));
        Assert.That(lines[0], Has.Length.LessThan(all.Length), "stopped");
        Assert.That(lines[1], Is.EqualTo(all));
    }

    [Test]
    public async Task AnInterruptionStopsWhatIsUnderWay()
    {
        using var interruption = new Interruption();
        await interruption.RunPartAsync(interruption.Token, part =>
        {
            Assert.That(interruption.Interrupt(), Is.True, "the part");
            Assert.That(part.IsCancellationRequested && !interruption.Token.IsCancellationRequested, Is.True);
            Assert.That(interruption.Interrupt(), Is.False, "a second time: the process");
            return Task.CompletedTask;
        });
        interruption.Wait(() =>
        {
            Assert.That(interruption.Interrupt(), Is.False, "nothing is under way while the user is asked");
            return null;
        });
        Assert.That(interruption.Interrupt(), Is.True, "the verb");
        Assert.That(interruption.Token.IsCancellationRequested, Is.True);
        Assert.That(interruption.Interrupt(), Is.False);
    }

    private Task<ToolResult> TalkAsync(string input, params string[] options) =>
        Tool.RunAsync(CancellationToken.None, new StringReader(input), null, ["chat", model, .. options]);

    /// <summary>Interrupts when the first piece is written.</summary>
    private sealed class InterruptingWriter(Interruption interruption) : StringWriter
    {
        private bool done;

        public override void Write(string? value)
        {
            base.Write(value);
            if (!done && !string.IsNullOrEmpty(value))
            {
                done = true;
                Assert.That(interruption.Interrupt(), Is.True);
            }
        }
    }
}
