using System.Text.Json;
using System.Text.Json.Nodes;
using Spectre.Console;

namespace Armor.Cli.Hosting;

/// <summary>One run of a verb: where results and progress go.</summary>
internal sealed class CommandSession
{
    private const int WidthOfPipes = 160;

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private readonly TextWriter output;
    private readonly TextWriter error;
    private readonly TextReader input;
    private readonly IAnsiConsole results;
    private readonly ProgressDisplay display;
    private readonly bool json;

    internal CommandSession(
        TextWriter output, TextWriter error, TextReader input, Interruption interruption, bool json, CancellationToken cancellationToken)
    {
        this.output = output;
        this.error = error;
        this.input = input;
        Interruption = interruption;
        this.json = json;
        CancellationToken = cancellationToken;
        results = Open(output);
        display = new ProgressDisplay(Open(error), error);
    }

    internal CancellationToken CancellationToken { get; }

    /// <summary>What Ctrl-C stops.</summary>
    internal Interruption Interruption { get; }

    /// <summary>Whether a person types the input, and wants to be asked for it.</summary>
    internal bool IsInteractive => ReferenceEquals(input, Console.In) && !Console.IsInputRedirected;

    /// <summary>Reads a line of input; null at its end.</summary>
    internal string? ReadLine() => Interruption.Wait(input.ReadLine);

    /// <summary>Writes a piece of a text as it comes; nothing under <c>--json</c>.</summary>
    internal void WritePiece(string piece)
    {
        if (!json)
        {
            output.Write(piece);
            output.Flush();
        }
    }

    /// <summary>Writes the result: the JSON object under <c>--json</c>, else what the other action prints.</summary>
    internal void Write(Func<JsonObject> asJson, Action<IAnsiConsole> asText)
    {
        if (json)
        {
            output.WriteLine(asJson().ToJsonString(Indented));
        }
        else
        {
            asText(results);
        }
    }

    /// <summary>Writes a line to standard error.</summary>
    internal void Note(string line) => error.WriteLine(line);

    /// <summary>Does work on another thread, its progress on standard error.</summary>
    /// <param name="title">What is done, in a few words.</param>
    /// <param name="work">The work.</param>
    internal Task<T> RunAsync<T>(string title, Func<IProgress<Step>, T> work) =>
        display.RunAsync(title, steps => Task.Run(() => work(steps), CancellationToken));

    /// <summary>Awaits work that is asynchronous itself.</summary>
    internal Task<T> RunAsync<T>(string title, Func<IProgress<Step>, Task<T>> work) => display.RunAsync(title, work);

    private static IAnsiConsole Open(TextWriter writer)
    {
        var target = new AnsiConsoleOutput(writer);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = target,
            Ansi = target.IsTerminal ? AnsiSupport.Detect : AnsiSupport.No,
            Interactive = target.IsTerminal ? InteractionSupport.Detect : InteractionSupport.No,
        });
        if (!target.IsTerminal)
        {
            console.Profile.Width = WidthOfPipes;
        }

        return console;
    }
}
