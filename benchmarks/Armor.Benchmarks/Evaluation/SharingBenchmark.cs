using System.Globalization;
using Armor.Core.Evaluation.Tasks;
using Armor.Core.Evaluation.Tasks.Results;
using Armor.Core.Evaluation.Tasks.Scoring;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;

namespace Armor.Benchmarks.Evaluation;

/// <summary>
/// What a task takes with each choice in a forward pass of its own, one after the other, and what sharing, the backend's threads and workers take off. All ways take
/// turns in one process; the least of their times counts. Processor seconds tell what sharing saves on a machine that others use too.
/// </summary>
internal static class SharingBenchmark
{
    private static readonly (string Name, bool Shares, bool Workers, bool Threads)[] Ways =
    [
        ("a pass a choice, one thread", false, false, false),
        ("a pass a choice, all threads in each product", false, false, true),
        ("a pass a choice, a worker a processor", false, true, false),
        ("shared, one thread", true, false, false),
        ("shared, all threads in each product", true, false, true),
        ("shared, a worker a processor", true, true, false),
    ];

    public static int Run(string[] arguments)
    {
        if (arguments is not [var folder, var data, var task, var rowsText, var roundsText]
            || !int.TryParse(rowsText, NumberStyles.None, CultureInfo.InvariantCulture, out int rows) || rows < 1
            || !int.TryParse(roundsText, NumberStyles.None, CultureInfo.InvariantCulture, out int rounds) || rounds < 1)
        {
            Console.Error.WriteLine("sharing MODEL TASK-DATA TASK ROWS ROUNDS");
            return 2;
        }

        int processors = Environment.ProcessorCount;
        using var single = new CpuBackend(new CpuBackendOptions { Threads = 1 });
        using var all = new CpuBackend(new CpuBackendOptions { Threads = processors });
        using ArmorModel onOne = ArmorModel.Load(folder, new ArmorModelOptions { Backend = single });
        using ArmorModel onAll = ArmorModel.Load(folder, new ArmorModelOptions { Backend = all });
        var options = new TaskRunOptions { Folder = data, Limit = rows };
        double[] seconds = [.. Ways.Select(_ => double.PositiveInfinity)];
        double[] processor = [.. seconds];
        var counter = new TokenCounter(new ArmorScoringModel(onOne, processors));
        TaskReport expected = TaskRunner.Run(counter, [task], options); // warms up too
        for (int round = 0; round < rounds; round++)
        {
            foreach ((int index, (string name, bool shares, bool workers, bool threads)) in Ways.Index())
            {
                var scoring = new ArmorScoringModel(threads ? onAll : onOne, workers ? processors : 1) { SharesPrefixes = shares };
                TimeSpan before = Environment.CpuUsage.TotalTime;
                TaskReport report = TaskRunner.Run(scoring, [task], options);
                processor[index] = Math.Min(processor[index], (Environment.CpuUsage.TotalTime - before).TotalSeconds);
                if (!report.Tasks[0].Metrics.SequenceEqual(expected.Tasks[0].Metrics))
                {
                    throw new InvalidOperationException($"{name}: the results differ: {report.ToMarkdown()} instead of {expected.ToMarkdown()}");
                }

                seconds[index] = Math.Min(seconds[index], report.Seconds);
            }
        }

        TaskResult result = expected.Tasks[0];
        Console.WriteLine($"{Machine.Describe(processors)}; {Path.GetFileName(Path.TrimEndingDirectorySeparator(folder))}, {task}, {rounds} rounds");
        Console.WriteLine(FormattableString.Invariant(
            $"{result.Rows} rows, {result.CutRows} cut on the left; {counter.Read} tokens read in {counter.Passes} choices, {counter.Computed} after sharing: a ratio of {(double)counter.Read / counter.Computed:0.00}."));
        Console.WriteLine();
        Console.WriteLine("| way | seconds | times faster than a pass a choice on one thread; on all threads | processor seconds |");
        Console.WriteLine("| --- | ---: | ---: | ---: |");
        foreach ((int index, (string name, _, _, _)) in Ways.Index())
        {
            Console.WriteLine(FormattableString.Invariant(
                $"| {name} | {seconds[index]:0.00} | {seconds[0] / seconds[index]:0.00}; {seconds[1] / seconds[index]:0.00} | {processor[index]:0.00} |"));
        }

        return 0;
    }

    /// <summary>Counts what a model reads, and what of it is new after the choice before; by one worker that takes all in order.</summary>
    private sealed class TokenCounter(IScoringModel inner) : IScoringModel
    {
        private int[] before = [];

        public long Read { get; private set; }

        public long Computed { get; private set; }

        public long Passes { get; private set; }

        public ModelConfiguration Configuration => inner.Configuration;

        public ModelTokenizer Tokenizer => inner.Tokenizer;

        public IReadOnlyList<ContinuationScore> Score(IReadOnlyList<TokenContinuation> continuations, CancellationToken cancellationToken = default)
        {
            foreach (TokenContinuation continuation in continuations)
            {
                int[] read = continuation.Tokens[..^1].ToArray();
                int shared = read.AsSpan().CommonPrefixLength(before);
                Passes++;
                Read += read.Length;
                // Logits of what is scored are wanted anew, unless all of it was read before.
                Computed += shared == read.Length && shared == before.Length ? 0 : read.Length - Math.Min(shared, continuation.ContextLength());
                before = read;
            }

            return inner.Score(continuations, cancellationToken);
        }

        public IReadOnlyList<string> Generate(IReadOnlyList<TokenPrompt> prompts, CancellationToken cancellationToken = default) => inner.Generate(prompts, cancellationToken);
    }
}
