using System.CommandLine;
using Armor.Cli.Measuring;
using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Commands;

/// <summary>The types in which the runtime holds a model's head and its wrappers; the same for all verbs that run one.</summary>
internal sealed class HeldTypeOptions
{
    // None: as it is stored.
    private static readonly Dictionary<string, TensorElementType?> Types = new(StringComparer.Ordinal)
    {
        ["stored"] = null,
        ["float32"] = TensorElementType.Float32,
        ["bfloat16"] = TensorElementType.BFloat16,
        ["float16"] = TensorElementType.Float16,
        ["int8"] = TensorElementType.Int8,
    };

    private readonly Option<string> head;
    private readonly Option<string> wrappers;

    internal HeldTypeOptions()
        : this(
            "Hold the model's head in this type; int8 halves a bfloat16 head (default stored)",
            "Hold the wrappers of pruned linears in this type; int8 halves bfloat16 ones (default stored)")
    {
    }

    internal HeldTypeOptions(string headDescription, string wrapperDescription)
    {
        head = Create("--head", headDescription);
        wrappers = Create("--wrappers", wrapperDescription);
    }

    /// <summary>In the order in which help shows them.</summary>
    internal IReadOnlyList<Option<string>> All => [head, wrappers];

    internal bool AreAsked(ParseResult parsed) => All.Any(option => parsed.GetValue(option) is not null);

    /// <summary>What was asked for.</summary>
    internal HeldTypes Read(ParseResult parsed) => new(Read(parsed, head), Read(parsed, wrappers));

    private static TensorElementType? Read(ParseResult parsed, Option<string> option) => parsed.GetValue(option) is { } name ? Types[name] : null;

    private static Option<string> Create(string name, string description) => new Option<string>(name)
    {
        Description = $"{description}: {string.Join(", ", Types.Keys)}.",
        HelpName = "TYPE",
    }.AcceptOnlyFromAmong([.. Types.Keys]);
}
