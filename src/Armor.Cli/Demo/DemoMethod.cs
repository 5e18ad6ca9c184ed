using Armor.Core.Pruning;

namespace Armor.Cli.Demo;

/// <summary>A row of the demo: a name and how to prune, or no pruning at all.</summary>
/// <param name="Name">As shown.</param>
/// <param name="Options">How to prune; null for the dense model.</param>
internal sealed record DemoMethod(string Name, ArmorPrunerOptions? Options)
{
    /// <summary>Enough to see where the paper's optimisers are going; they take up to 20,000 steps to arrive.</summary>
    private const int PaperSteps = 300;

    internal static IReadOnlyList<DemoMethod> All { get; } =
    [
        new("dense", null),
        Plain("magnitude", PruningMethod.Magnitude),
        Plain("wanda", PruningMethod.Wanda),
        Plain("nowag-p", PruningMethod.NoWagP),
        Plain("sparsegpt", PruningMethod.SparseGpt),
        Plain("dense24", PruningMethod.Dense24),
        new($"armor paper, {PaperSteps} steps", Shortened(ArmorPrunerOptions.Paper, PaperSteps)),
        new("armor fast", ArmorPrunerOptions.Fast),
        new("armor balanced", ArmorPrunerOptions.Balanced),
    ];

    /// <summary>One method of each kind, the quick ones.</summary>
    internal static IReadOnlyList<DemoMethod> Quick { get; } =
        [.. All.Where(method => method.Name is "dense" or "magnitude" or "nowag-p" or "sparsegpt" or "armor fast")];

    private static DemoMethod Plain(string name, PruningMethod method) => new(name, ArmorPrunerOptions.Balanced with { Method = method });

    private static ArmorPrunerOptions Shortened(ArmorPrunerOptions options, int steps) =>
        options with { Stages = [.. options.Stages.Select(stage => stage with { PolishCycles = steps })] };
}
