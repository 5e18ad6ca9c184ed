using Armor.Core.Evaluation.Tasks.Definitions;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Core.Evaluation.Tasks.Scoring;

/// <summary>Turns requests into tokens as the harness does: what does not fit the model's context is cut on the left.</summary>
internal sealed class ScoringRequests(ModelTokenizer tokenizer, ModelConfiguration configuration)
{
    /// <summary>How many tokens of a generated answer there are: as many as the task allows, or half the window where so many would fill it.</summary>
    public static int AnswerTokens(int wanted, int contextLength) => wanted < contextLength ? wanted : contextLength / 2;

    /// <summary>A continuation's sequence.</summary>
    public CutContinuation Encode(ContinuationRequest request)
    {
        if (request.Context.Length == 0)
        {
            int[] alone = [.. tokenizer.Encode(request.Continuation, addBeginOfSequence: false)];
            int[] started = alone is [var first, ..] && first == StartToken() ? alone : [StartToken(), .. alone];
            return Cut(started, started.Length - 1, request);
        }

        // Spaces at the context's end go to the continuation, whose first token they belong to.
        string context = request.Context[..^PythonText.TrailingSpaces(request.Context)];
        int[] all = [.. tokenizer.Encode(request.Context + request.Continuation)];
        int before = context.Length == 0 ? 0 : tokenizer.Encode(context).Count;
        if (before == 0)
        {
            all = [StartToken(), .. all];
            before = 1;
        }

        return Cut(all, all.Length - before, request);
    }

    /// <summary>
    /// A document's windows: each of the model's whole context, disjoint in what they predict; a window's first prediction sees one token, the one before it,
    /// and the document's first sees the token that starts sequences.
    /// </summary>
    public IReadOnlyList<TokenContinuation> Encode(DocumentRequest request)
    {
        int[] tokens = [StartToken(), .. tokenizer.Encode(request.Text)];
        int window = configuration.ContextLength;
        var windows = new List<TokenContinuation>();
        for (int predicted = 1; predicted < tokens.Length;)
        {
            int count = Math.Min(window, tokens.Length - predicted);
            int end = predicted + count;
            // The last window reaches back to fill the context.
            int start = predicted == 1 ? 0 : Math.Max(0, end - window - 1);
            windows.Add(new TokenContinuation(tokens.AsMemory(start, end - start), count));
            predicted = end;
        }

        return windows;
    }

    /// <summary>A prompt's tokens and how many may be generated after them.</summary>
    /// <returns>The prompt, cut so that both fit; where even the answer alone would fill the context, it gets half of it.</returns>
    public (ReadOnlyMemory<int> Prompt, int MaxTokens, bool IsCut) Encode(GenerationRequest request)
    {
        int[] tokens = [.. tokenizer.Encode(request.Prompt)];
        int answer = AnswerTokens(request.MaxTokens, configuration.ContextLength);
        int room = configuration.ContextLength - answer;
        return tokens.Length <= room ? (tokens, answer, false) : (tokens.AsMemory(tokens.Length - room), answer, true);
    }

    private CutContinuation Cut(int[] tokens, int scored, ContinuationRequest request)
    {
        if (scored < 1)
        {
            throw new EvaluationException($"The continuation {Data.TaskRow.Show(request.Continuation)} has no token of its own after its context.");
        }

        int most = configuration.ContextLength + 1;
        return tokens.Length <= most
            ? new CutContinuation(new TokenContinuation(tokens, scored), false)
            : new CutContinuation(new TokenContinuation(tokens.AsMemory(tokens.Length - most), Math.Min(scored, most - 1)), true);
    }

    private int StartToken() => tokenizer.BeginOfSequence ?? configuration.EndOfSequence.FirstOrDefault();
}

/// <summary>A continuation's tokens.</summary>
/// <param name="Continuation">The tokens.</param>
/// <param name="IsCut">Whether some were cut away on the left.</param>
internal readonly record struct CutContinuation(TokenContinuation Continuation, bool IsCut);
