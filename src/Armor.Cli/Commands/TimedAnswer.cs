using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Runtime.Generation;

namespace Armor.Cli.Commands;

/// <summary>A generated text and how long it took.</summary>
/// <param name="Text">The text.</param>
/// <param name="PromptTokens">Number of tokens before it.</param>
/// <param name="Tokens">Number of its tokens.</param>
/// <param name="Reason">Why it ended; null where it was interrupted.</param>
/// <param name="PromptSeconds">Until the first token was there.</param>
/// <param name="Seconds">Until the end.</param>
internal sealed record TimedAnswer(string Text, int PromptTokens, int Tokens, FinishReason? Reason, double PromptSeconds, double Seconds)
{
    internal double? PromptTokensPerSecond => PromptSeconds > 0 ? PromptTokens / PromptSeconds : null;

    /// <summary>Of the tokens after the first, each of which is one pass over the weights; null where there was none.</summary>
    internal double? TokensPerSecond => Tokens > 1 && Seconds > PromptSeconds ? (Tokens - 1) / (Seconds - PromptSeconds) : null;

    /// <summary>Reads a generation to its end, each piece written as it comes.</summary>
    /// <param name="generation">Begins the generation; under way until the token is cancelled.</param>
    /// <param name="session">Gets the pieces.</param>
    /// <param name="cancellationToken">Ends it: what has been generated is kept where the caller wants so.</param>
    /// <param name="keepsInterrupted">Whether an interrupted text is a result; else the cancellation is thrown.</param>
    internal static async Task<TimedAnswer> ReadAsync(
        Func<CancellationToken, IAsyncEnumerable<GenerationUpdate>> generation,
        CommandSession session,
        bool keepsInterrupted,
        CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        var stopwatch = Stopwatch.StartNew();
        double? first = null;
        GenerationUpdate last = default;
        try
        {
            await foreach (GenerationUpdate update in generation(cancellationToken).ConfigureAwait(false))
            {
                cancellationToken.ThrowIfCancellationRequested(); // at once, though further tokens may be there already
                first ??= stopwatch.Elapsed.TotalSeconds;
                last = update;
                text.Append(update.Text);
                session.WritePiece(update.Text);
            }
        }
        catch (OperationCanceledException) when (keepsInterrupted && cancellationToken.IsCancellationRequested)
        {
        }

        double seconds = stopwatch.Elapsed.TotalSeconds;
        return new TimedAnswer(text.ToString(), last.PromptTokens, last.GeneratedTokens, last.FinishReason, first ?? seconds, seconds);
    }

    internal JsonObject ToJson() => new()
    {
        ["text"] = Text,
        ["promptTokens"] = PromptTokens,
        ["tokens"] = Tokens,
        ["finishReason"] = Reason switch
        {
            FinishReason.EndOfSequence => "endOfSequence",
            FinishReason.StopString => "stopString",
            FinishReason.MaxTokens => "maxTokens",
            FinishReason.ContextFull => "contextFull",
            _ => "interrupted",
        },
        ["seconds"] = Seconds,
        ["promptTokensPerSecond"] = PromptTokensPerSecond,
        ["tokensPerSecond"] = TokensPerSecond,
    };
}
