using System.CommandLine;
using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Commands;

/// <summary>The type in which the runtime holds a model's head; the same for all verbs that run one.</summary>
internal static class HeadOption
{
    internal const string Name = "--head";

    // None: as it is stored.
    private static readonly Dictionary<string, TensorElementType?> Types = new(StringComparer.Ordinal)
    {
        ["stored"] = null,
        ["float32"] = TensorElementType.Float32,
        ["bfloat16"] = TensorElementType.BFloat16,
        ["float16"] = TensorElementType.Float16,
        ["int8"] = TensorElementType.Int8,
    };

    internal static Option<string> Create(string description) => new Option<string>(Name)
    {
        Description = $"{description}: {string.Join(", ", Types.Keys)}.",
        HelpName = "TYPE",
    }.AcceptOnlyFromAmong([.. Types.Keys]);

    internal static Option<string> Create() => Create("Hold the model's head in this type; int8 halves a bfloat16 head (default stored)");

    /// <summary>The type that was asked for; null for the stored one.</summary>
    internal static TensorElementType? Read(ParseResult parsed, Option<string> option) => parsed.GetValue(option) is { } name ? Types[name] : null;
}
