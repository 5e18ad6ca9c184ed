using System.CommandLine;
using Armor.Cli.Hosting;
using Armor.Core.Recovery;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor recover</c>: a pruned model's wrappers and kept values fine-tuned towards the dense model.</summary>
internal static class RecoverCommand
{
    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("ARMOR");
        var dense = new Option<string>("--dense") { Description = "The dense model that it was pruned from.", HelpName = "MODEL", Required = true };
        var output = new Option<string>("--out", "--output") { Description = "The folder to write; new or empty.", HelpName = "DIR", Required = true };
        var calibration = new Option<string>("--calibration")
        {
            Description = "Text like that which the model will see; its last documents are held out to judge by.",
            HelpName = "FILE",
            Required = true,
        };
        var documents = new TextOptions();
        Option<int?> samples = Numbers.Integer("--samples", "N", "Use the first N documents (default all).", minimum: 2);
        var training = new RecoveryArguments();
        var resume = new Option<bool>("--resume") { Description = "Go on where an interrupted run to the same folder stopped." };
        var command = new Command("recover", "Fine-tunes a pruned model towards its dense one, masks fixed.") { model, dense, output, calibration, samples, resume };
        documents.AddTo(command);
        training.AddTo(command);
        command.SetAction((parsed, cancellationToken) => host.RunNativeAsync(parsed, cancellationToken, async session =>
        {
            RecoveryOptions options = training.Read(parsed) with { MaxSamples = parsed.GetValue(samples), Resume = parsed.GetValue(resume) };
            string folder = ModelFolder.Existing(parsed.GetRequiredValue(model));
            string denseFolder = ModelFolder.Existing(parsed.GetRequiredValue(dense));
            string target = parsed.GetRequiredValue(output);
            IReadOnlyList<string> texts = documents.ReadDocuments(parsed, parsed.GetRequiredValue(calibration));
            RecoveryReport report = await Workspaces.RunAsync(session, target, () => session.RunAsync("Recovering", steps =>
                ModelRecovery.RecoverAsync(folder, denseFolder, target, texts, options, new RecoverySteps(steps), session.CancellationToken))).ConfigureAwait(false);
            session.Write(() => RecoveryOutput.ToJson(report), console =>
            {
                RecoveryOutput.Print(console, report);
                console.WriteLine($"Written to {target}");
            });
        }));
        return command;
    }
}
