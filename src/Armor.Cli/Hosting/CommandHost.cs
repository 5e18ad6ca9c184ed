using System.CommandLine;
using Armor.Cli.Natives;

namespace Armor.Cli.Hosting;

/// <summary>What every verb shares: its streams, <c>--json</c> and <c>--verbose</c>, and how an exception becomes a line and an exit code.</summary>
internal sealed class CommandHost(TextWriter output, TextWriter error, TextReader input, Interruption interruption)
{
    internal Option<bool> Json { get; } = new("--json")
    {
        Description = "Write one JSON object to standard output, and nothing else there.",
        Recursive = true,
    };

    internal Option<bool> Verbose { get; } = new("--verbose") { Description = "Show where an error came from.", Recursive = true };

    internal async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken, Func<CommandSession, Task> verb)
    {
        var session = new CommandSession(output, error, input, interruption, parsed.GetValue(Json), cancellationToken);
        try
        {
            await verb(session).ConfigureAwait(false);
            return ExitCode.Done;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            await error.WriteLineAsync("armor: cancelled.").ConfigureAwait(false);
            return ExitCode.Cancelled;
        }
        catch (UsageException exception)
        {
            await error.WriteLineAsync($"armor: {exception.Message}").ConfigureAwait(false);
            await error.WriteLineAsync($"Try 'armor {parsed.CommandResult.Command.Name} --help'.").ConfigureAwait(false);
            return ExitCode.Usage;
        }
        catch (Exception exception)
        {
            await error.WriteLineAsync(parsed.GetValue(Verbose) ? $"armor: {exception}" : $"armor: {OneLine(exception)}").ConfigureAwait(false);
            return ExitCode.Failed;
        }
    }

    /// <summary>The same for a verb that computes with TorchSharp or draws with ScottPlot: their native libraries are there when it begins.</summary>
    internal Task<int> RunNativeAsync(ParseResult parsed, CancellationToken cancellationToken, Func<CommandSession, Task> verb) =>
        RunAsync(parsed, cancellationToken, async session =>
        {
            await NativeLibraries.EnsureAsync(session.Note, session.CancellationToken).ConfigureAwait(false);
            await verb(session).ConfigureAwait(false);
        });

    private static string OneLine(Exception exception)
    {
        // A type initialiser that failed says nothing itself; its cause does.
        Exception cause = exception;
        while (cause is TypeInitializationException or AggregateException && cause.InnerException is not null)
        {
            cause = cause.InnerException;
        }

        string message = string.Join(' ', cause.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
        bool unexpected = cause is NullReferenceException or IndexOutOfRangeException or InvalidCastException or KeyNotFoundException;
        return unexpected ? $"unexpected {cause.GetType().Name}: {message} Run again with --verbose to see where." : message;
    }
}
