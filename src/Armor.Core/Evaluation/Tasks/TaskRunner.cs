using System.Diagnostics;
using Armor.Core.Evaluation.Tasks.Data;
using Armor.Core.Evaluation.Tasks.Definitions;
using Armor.Core.Evaluation.Tasks.Results;
using Armor.Core.Evaluation.Tasks.Scoring;

namespace Armor.Core.Evaluation.Tasks;

/// <summary>Measures a model on tasks: the prompts, the scoring and the names of EleutherAI's lm-evaluation-harness.</summary>
public static class TaskRunner
{
    private const int RowsAtATime = 32;

    /// <summary>The tasks and groups that <see cref="Run"/> knows; <c>mmlu_SUBJECT</c> and <c>bbh_TASK</c> beside them.</summary>
    public static IReadOnlyList<string> TaskNames => TaskCatalogue.Names;

    /// <summary>Measures a model.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tasks">Names of <see cref="TaskNames"/>.</param>
    /// <param name="options">Where the data lies.</param>
    /// <param name="progress">Told after every few rows.</param>
    /// <param name="cancellationToken">Seen between sequences or layers; what is finished stays in <see cref="TaskRunOptions.WorkFolder"/>.</param>
    /// <returns>A result a task, and one a group.</returns>
    /// <exception cref="ArgumentException">An option is out of range, or there is no such task.</exception>
    /// <exception cref="TaskDataException">Data is missing or breaks its layout.</exception>
    /// <exception cref="EvaluationException">The model's outputs are not finite, or its tokenizer is another model's.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static TaskReport Run(
        IScoringModel model,
        IReadOnlyList<string> tasks,
        TaskRunOptions options,
        IProgress<TaskProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tasks);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        var watch = Stopwatch.StartNew();
        var files = new TaskFiles(options.Folder, options.Paths);
        TaskGroup[] groups = [.. tasks.SelectMany(name => TaskCatalogue.Find(name, files))];
        PreparedTask[] prepared =
            [.. groups.SelectMany(group => group.Tasks).DistinctBy(task => task.Name).Select(task => PreparedTask.Load(task, files, options.Shots, options.Limit))];
        int total = prepared.Sum(task => task.Prompts.Count);
        int done = 0;
        var results = new List<TaskResult>();
        foreach (PreparedTask task in prepared)
        {
            IReadOnlyList<RowAnswers> answers = Answer(model, task, options, rows =>
            {
                done += rows;
                progress?.Report(new TaskProgress(task.Definition.Name, done, total, watch.Elapsed));
            }, cancellationToken);
            results.Add(TaskResult.Of(task, answers, model.Configuration.ContextLength));
        }

        TaskResult[] together = [.. groups.Where(group => group.Name.Length > 0).Select(group => TaskResult.OfGroup(
            group, [.. group.Tasks.Select(task => results.Find(result => result.Task == task.Name)!)]))];
        return new TaskReport { Tasks = results, Groups = together, ContextLength = model.Configuration.ContextLength, Seconds = watch.Elapsed.TotalSeconds };
    }

    private static IReadOnlyList<RowAnswers> Answer(
        IScoringModel model, PreparedTask task, TaskRunOptions options, Action<int> report, CancellationToken cancellationToken)
    {
        using var work = TaskWork.Open(task, options);
        var requests = new ScoringRequests(model.Tokenizer, model.Configuration);
        int[] missing = [.. Enumerable.Range(0, task.Prompts.Count).Where(row => work.Answers[row] is null)];
        report(task.Prompts.Count - missing.Length);
        foreach (int[] rows in missing.Chunk(RowsAtATime))
        {
            TaskRequest[][] asked = [.. rows.Select(row => task.Prompts[row].Item.Requests(task.Prompts[row].Before, task.Definition.Delimiter).ToArray())];
            foreach ((int row, TaskResponse[] responses) in rows.Zip(Respond(model, requests, asked, cancellationToken)))
            {
                work.Keep(row, responses);
            }

            report(rows.Length);
        }

        return [.. task.Prompts.Select((prompt, row) => new RowAnswers(work.Answers[row]!, prompt.Item.Score(work.Answers[row]!)))];
    }

    /// <summary>Answers the requests of several rows, all log-likelihoods in one call and all generated texts in another.</summary>
    private static TaskResponse[][] Respond(IScoringModel model, ScoringRequests requests, TaskRequest[][] asked, CancellationToken cancellationToken)
    {
        var continuations = new List<TokenContinuation>();
        var pending = new List<(int Row, int Request, int First, int Count, bool IsCut)>();
        var prompts = new List<TokenPrompt>();
        var generated = new List<(int Row, int Request, bool IsCut)>();
        TaskResponse[][] responses = [.. asked.Select(row => new TaskResponse[row.Length])];
        for (int row = 0; row < asked.Length; row++)
        {
            for (int request = 0; request < asked[row].Length; request++)
            {
                switch (asked[row][request])
                {
                    case ContinuationRequest continuation:
                        CutContinuation encoded = requests.Encode(continuation);
                        pending.Add((row, request, continuations.Count, 1, encoded.IsCut));
                        continuations.Add(encoded.Continuation);
                        break;
                    case DocumentRequest document:
                        IReadOnlyList<TokenContinuation> windows = requests.Encode(document);
                        pending.Add((row, request, continuations.Count, windows.Count, false));
                        continuations.AddRange(windows);
                        break;
                    case GenerationRequest generation:
                        (ReadOnlyMemory<int> prompt, int most, bool isCut) = requests.Encode(generation);
                        generated.Add((row, request, isCut));
                        prompts.Add(new TokenPrompt(prompt, most, generation.StopStrings));
                        break;
                }
            }
        }

        IReadOnlyList<ContinuationScore> scores = continuations.Count == 0 ? [] : model.Score(continuations, cancellationToken);
        foreach ((int row, int request, int first, int count, bool isCut) in pending)
        {
            ContinuationScore[] own = [.. scores.Skip(first).Take(count)];
            responses[row][request] = new TaskResponse(own.Sum(score => score.LogLikelihood), own.All(score => score.IsGreedy), null, isCut);
        }

        IReadOnlyList<string> texts = prompts.Count == 0 ? [] : model.Generate(prompts, cancellationToken);
        foreach (((int row, int request, bool isCut), string text) in generated.Zip(texts))
        {
            responses[row][request] = new TaskResponse(0, false, text, isCut);
        }

        return responses;
    }
}

/// <summary>What a row's requests were answered, and what that is worth.</summary>
internal sealed record RowAnswers(IReadOnlyList<TaskResponse> Responses, IReadOnlyList<ItemScore> Scores);
