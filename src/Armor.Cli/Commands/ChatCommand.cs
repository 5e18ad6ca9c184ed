using System.CommandLine;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Runtime.Chat;
using Armor.Runtime.Generation;

namespace Armor.Cli.Commands;

/// <summary><c>armor chat</c>: a conversation, a line of input a turn.</summary>
internal static class ChatCommand
{
    private const string Help = "A line is a turn. Ctrl-C stops an answer, /reset forgets the conversation, /exit ends.";

    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("dense or ARMOR, with a chat template");
        var system = new Option<string>("--system") { Description = "What the model is told before the conversation.", HelpName = "TEXT" };
        var sampling = new SamplingOptions();
        var command = new Command("chat", "Talks with a model. " + Help) { model, system };
        sampling.AddTo(command);
        command.SetAction((parsed, cancellationToken) => host.RunAsync(parsed, cancellationToken, async session =>
        {
            string folder = ModelFolder.Existing(parsed.GetRequiredValue(model));
            using LoadedModel loaded = await session.RunAsync("Loading", _ => sampling.Load(parsed, folder, session.CancellationToken)).ConfigureAwait(false);
            GenerationOptions options = sampling.Read(parsed, (loaded.Model.RecommendedOptions ?? GenerationOptions.Sampled) with { MaxTokens = 1024 });
            IReadOnlyList<TimedAnswer> answers = await TalkAsync(loaded.Model, parsed.GetValue(system), options, session).ConfigureAwait(false);
            session.Write(() => new JsonObject { ["answers"] = new JsonArray([.. answers.Select(answer => (JsonNode)answer.ToJson())]) }, _ => { });
        }));
        return command;
    }

    private static async Task<IReadOnlyList<TimedAnswer>> TalkAsync(ArmorModel model, string? system, GenerationOptions options, CommandSession session)
    {
        IChatTemplate template = model.ChatTemplate; // before anything is typed
        using GenerationSession memory = model.CreateSession();
        List<TimedAnswer> answers = [];
        List<ChatTurn> start = string.IsNullOrEmpty(system) ? [] : [new ChatTurn(ChatTurnRole.System, system)];
        List<ChatTurn> turns = [.. start];
        if (session.IsInteractive)
        {
            session.Note(Help);
        }

        while (true)
        {
            session.CancellationToken.ThrowIfCancellationRequested();
            if (session.IsInteractive)
            {
                session.WritePiece("> ");
            }

            string? line = session.ReadLine();
            switch (line?.Trim())
            {
                case null or "/exit":
                    return answers;
                case "":
                    continue;
                case "/reset":
                    turns = [.. start];
                    continue;
            }

            turns.Add(new ChatTurn(ChatTurnRole.User, line));
            try
            {
                await session.Interruption.RunPartAsync(session.CancellationToken, async token => answers.Add(await TimedAnswer.ReadAsync(
                    stop => model.AnswerAsync(turns, options, template, memory, stop), session, keepsInterrupted: true, token).ConfigureAwait(false)))
                    .ConfigureAwait(false);
            }
            catch (ArgumentException exception)
            {
                // As a rule the conversation has outgrown the context; it can go on with another question, or anew.
                turns.RemoveAt(turns.Count - 1);
                session.Note($"armor: {exception.Message} Try a shorter question, or /reset.");
                continue;
            }

            turns.Add(new ChatTurn(ChatTurnRole.Assistant, answers[^1].Text));
            session.WritePiece(Environment.NewLine);
        }
    }
}
