using System.CommandLine;
using Armor.Cli.Hosting;
using Armor.Runtime.Generation;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor generate</c>: continues a text.</summary>
internal static class GenerateCommand
{
    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("dense or ARMOR");
        var prompt = new Option<string>("--prompt") { Description = "The text to continue.", HelpName = "TEXT", Required = true };
        var sampling = new SamplingOptions();
        var command = new Command("generate", "Continues a text.") { model, prompt };
        sampling.AddTo(command);
        command.SetAction((parsed, cancellationToken) => host.RunAsync(parsed, cancellationToken, async session =>
        {
            string folder = ModelFolder.Existing(parsed.GetRequiredValue(model));
            using LoadedModel loaded = await session.RunAsync("Loading", _ => sampling.Load(parsed, folder, session.CancellationToken)).ConfigureAwait(false);
            GenerationOptions options = sampling.Read(parsed, loaded.Model.RecommendedOptions ?? GenerationOptions.Greedy);
            IReadOnlyList<int> tokens = loaded.Model.Tokenizer.Encode(parsed.GetRequiredValue(prompt));
            TimedAnswer answer = await TimedAnswer.ReadAsync(
                token => loaded.Model.StreamAsync(tokens, options, cancellationToken: token), session, keepsInterrupted: false, session.CancellationToken)
                .ConfigureAwait(false);
            session.Write(answer.ToJson, console => console.WriteLine());
        }));
        return command;
    }
}
