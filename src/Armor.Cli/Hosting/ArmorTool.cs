using System.CommandLine;
using Armor.Cli.Commands;

namespace Armor.Cli.Hosting;

/// <summary>The tool as a function of its arguments and streams, so that tests run it in their own process.</summary>
internal static class ArmorTool
{
    internal static async Task<int> RunAsync(
        string[] args,
        TextWriter output,
        TextWriter error,
        CancellationToken cancellationToken,
        TextReader? input = null,
        Interruption? interruption = null)
    {
        using var uninterrupted = new Interruption();
        var host = new CommandHost(output, error, input ?? TextReader.Null, interruption ?? uninterrupted);
        var root = new RootCommand(
            "Prunes large language models by ARMOR, so that every weight becomes A·S·B, a 2:4 sparse core between two block-diagonal wrappers, and runs them.")
        {
            PruneCommand.Create(host),
            RecoverCommand.Create(host),
            EvalCommand.Create(host),
            InspectCommand.Create(host),
            ExportCommand.Create(host),
            GenerateCommand.Create(host),
            ChatCommand.Create(host),
            BenchCommand.Create(host),
            DemoCommand.Create(host),
            StudyCommand.Create(host),
            host.Json,
            host.Verbose,
        };

        ParseResult parsed = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count > 0)
        {
            foreach (string message in parsed.Errors.Select(problem => problem.Message).Distinct())
            {
                await error.WriteLineAsync($"armor: {message}").ConfigureAwait(false);
            }

            string verb = parsed.CommandResult.Command == root ? string.Empty : $" {parsed.CommandResult.Command.Name}";
            await error.WriteLineAsync($"Try 'armor{verb} --help'.").ConfigureAwait(false);
            return ExitCode.Usage;
        }

        var configuration = new InvocationConfiguration
        {
            Output = output,
            Error = error,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null, // Program listens for signals
        };
        return await parsed.InvokeAsync(configuration, cancellationToken).ConfigureAwait(false);
    }
}
