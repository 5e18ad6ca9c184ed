using Armor.Cli.Hosting;
using Armor.Core.Pruning;

namespace Armor.Cli.Studies;

/// <summary>The prunings that each study compares.</summary>
internal static class StudyPlans
{
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

    /// <summary>
    /// How the core's groups are chosen. The paper's loss, its wrapper steps (Adam) and as many of them; only the selector differs. A step with the exact sweep visits
    /// every group, one with the paper's selector a single group a block, so a number of steps is not the same work: each has a curve over several, to be compared
    /// at equal seconds. The sweep with exact wrapper steps, which the presets have, is the fourth.
    /// </summary>
    internal static IReadOnlyList<StudyVariant> Selection(IReadOnlyList<string> documents, IReadOnlyList<int> steps, int runs)
    {
        ArmorPrunerOptions paper = ArmorPrunerOptions.Paper;
        (string Curve, ArmorPrunerOptions Options)[] curves =
        [
            ("group by gradient", paper with { CoreAlgorithm = CoreAlgorithm.GroupByGradient }),
            ("group at random", paper with { CoreAlgorithm = CoreAlgorithm.GroupAtRandom }),
            ("exact sweep", paper with { CoreAlgorithm = CoreAlgorithm.ExactSweep }),
            ("exact sweep, exact wrappers", paper with { CoreAlgorithm = CoreAlgorithm.ExactSweep, WrapperAlgorithm = WrapperAlgorithm.LeastSquares }),
        ];
        return [.. curves.SelectMany(curve => steps.SelectMany(count =>
            Repeated(Numbers($"{curve.Curve}, {count} steps"), documents, Shortened(curve.Options, count), runs, curve.Curve)))];
    }

    /// <summary>Block sizes of the wrappers.</summary>
    internal static IReadOnlyList<StudyVariant> BlockSize(IReadOnlyList<string> documents, IReadOnlyList<int> sizes, int runs, ArmorPrunerOptions options) =>
        [.. sizes.SelectMany(size => Repeated(Numbers($"blocks of {size}"), documents, options with { BlockSize = size }, runs))];

    /// <summary>
    /// One setting several times, each with a seed and a part of the text of its own: some settings draw nothing at random, and a seed alone would show less than what
    /// another text changes. Parts follow each other and go on from the text's start where it ends; all settings have the same ones.
    /// </summary>
    private static IEnumerable<StudyVariant> Repeated(string setting, IReadOnlyList<string> documents, ArmorPrunerOptions options, int runs, string? curve = null)
    {
        int size = Math.Min(DefaultSamples, documents.Count);
        return Enumerable.Range(0, runs).Select(run => new StudyVariant(
            setting, [.. Enumerable.Range(run * size, size).Select(index => documents[index % documents.Count])], options with { Seed = run }, curve));
    }

    private static ArmorPrunerOptions Shortened(ArmorPrunerOptions options, int steps) =>
        options with { Stages = [.. options.Stages.Select(stage => stage with { PolishCycles = steps })] };

    private static string Numbers(FormattableString text) => FormattableString.Invariant(text);
}
