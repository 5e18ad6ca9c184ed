using Armor.Cli.Hosting;
using Armor.Core.Pruning;

namespace Armor.Cli.Studies;

/// <summary>The prunings that each study compares.</summary>
internal static class StudyPlans
{
    /// <summary>Enough to see where one-group selection is going.</summary>
    private const int SelectionSteps = 300;

    private const int DefaultSamples = 128;

    /// <summary>Texts and sizes: of each text, disjoint parts of each size.</summary>
    /// <param name="texts">Names and documents.</param>
    /// <param name="sizes">Documents a calibration.</param>
    /// <param name="runs">Parts of each size.</param>
    /// <param name="options">How to prune.</param>
    internal static IReadOnlyList<StudyVariant> Calibration(
        IReadOnlyList<(string Name, IReadOnlyList<string> Documents)> texts, IReadOnlyList<int> sizes, int runs, ArmorPrunerOptions options)
    {
        var variants = new List<StudyVariant>();
        foreach ((string name, IReadOnlyList<string> documents) in texts)
        {
            foreach (int size in sizes)
            {
                int parts = Math.Min(runs, documents.Count / size);
                if (parts == 0)
                {
                    throw new ToolException($"{name}: expected at least {size} documents for a calibration of {size}, found {documents.Count}.");
                }

                variants.AddRange(Enumerable.Range(0, parts).Select(part =>
                    new StudyVariant(Numbers($"{name}, {size} documents"), [.. documents.Skip(part * size).Take(size)], options)));
            }
        }

        return variants;
    }

    /// <summary>How the core's groups are chosen: the paper's optimiser with each heuristic for the same steps, and the exact sweep.</summary>
    internal static IReadOnlyList<StudyVariant> Selection(IReadOnlyList<string> documents, int runs, bool isQuick)
    {
        int steps = isQuick ? SelectionSteps / 10 : SelectionSteps;
        ArmorPrunerOptions paper = Shortened(ArmorPrunerOptions.Paper, steps);
        // One exact sweep visits every group, so a tenth of the cycles is still more work on the core than one group a block.
        ArmorPrunerOptions exact = Shortened(ArmorPrunerOptions.Paper, Math.Max(1, steps / 10)) with
        {
            CoreAlgorithm = CoreAlgorithm.ExactSweep,
            WrapperAlgorithm = WrapperAlgorithm.LeastSquares,
        };
        (string Setting, ArmorPrunerOptions Options)[] settings =
        [
            (Numbers($"group by gradient, {steps} steps"), paper with { CoreAlgorithm = CoreAlgorithm.GroupByGradient }),
            (Numbers($"group at random, {steps} steps"), paper with { CoreAlgorithm = CoreAlgorithm.GroupAtRandom }),
            (Numbers($"exact sweep, {Math.Max(1, steps / 10)} cycles"), exact),
        ];
        return [.. settings.SelectMany(setting => Seeds(runs, setting.Options).Select(options => new StudyVariant(setting.Setting, Samples(documents), options)))];
    }

    /// <summary>Block sizes of the wrappers.</summary>
    internal static IReadOnlyList<StudyVariant> BlockSize(IReadOnlyList<string> documents, IReadOnlyList<int> sizes, int runs, ArmorPrunerOptions options) =>
        [.. sizes.SelectMany(size => Seeds(runs, options with { BlockSize = size }).Select(own => new StudyVariant(Numbers($"blocks of {size}"), Samples(documents), own)))];

    private static IEnumerable<ArmorPrunerOptions> Seeds(int runs, ArmorPrunerOptions options) => Enumerable.Range(0, runs).Select(seed => options with { Seed = seed });

    private static ArmorPrunerOptions Shortened(ArmorPrunerOptions options, int steps) =>
        options with { Stages = [.. options.Stages.Select(stage => stage with { PolishCycles = steps })] };

    private static IReadOnlyList<string> Samples(IReadOnlyList<string> documents) => [.. documents.Take(DefaultSamples)];

    private static string Numbers(FormattableString text) => FormattableString.Invariant(text);
}
