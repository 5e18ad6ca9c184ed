using System.CommandLine;
using System.Globalization;

namespace Armor.Cli.Commands;

/// <summary>Numeric options with bounds, and numbers in print.</summary>
internal static class Numbers
{
    internal static Option<int?> Integer(string name, string helpName, string description, int minimum) =>
        Create<int>(name, helpName, description, value => value >= minimum, Invariant($"a whole number of at least {minimum}"));

    internal static Option<T?> Create<T>(string name, string helpName, string description, Func<T, bool> accepts, string expected)
        where T : struct, ISpanParsable<T> => new(name)
        {
            Description = description,
            HelpName = helpName,
            CustomParser = result =>
            {
                string found = result.Tokens.Count == 1 ? result.Tokens[0].Value : string.Empty;
                if (T.TryParse(found, CultureInfo.InvariantCulture, out T value) && accepts(value))
                {
                    return value;
                }

                result.AddError($"{name} must be {expected}; found '{found}'.");
                return null;
            },
        };

    /// <summary>An option that takes a size such as <c>6GB</c>, <c>512MiB</c> or a plain number of bytes.</summary>
    internal static Option<long?> Size(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "SIZE",
        CustomParser = result =>
        {
            string found = result.Tokens.Count == 1 ? result.Tokens[0].Value : string.Empty;
            if (ParseSize(found) is { } size)
            {
                return size;
            }

            result.AddError($"{name} must be a size such as 6GB, 512MiB or a number of bytes; found '{found}'.");
            return null;
        },
    };

    internal static string Invariant(FormattableString text) => FormattableString.Invariant(text);

    /// <summary>Bytes in the unit that suits them.</summary>
    internal static string Bytes(long count) => count switch
    {
        < 1 << 10 => Invariant($"{count} B"),
        < 1 << 20 => Invariant($"{count / 1024.0:0.0} KiB"),
        < 1 << 30 => Invariant($"{count / 1048576.0:0.0} MiB"),
        _ => Invariant($"{count / 1073741824.0:0.00} GiB"),
    };

    private static long? ParseSize(string text)
    {
        (string Unit, double Bytes)[] units = [("GiB", 1L << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1e9), ("MB", 1e6), ("KB", 1e3), ("B", 1), (string.Empty, 1)];
        (string unit, double bytes) = units.First(unit => text.EndsWith(unit.Unit, StringComparison.OrdinalIgnoreCase));
        return double.TryParse(text[..^unit.Length], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number)
            && number * bytes is >= 1 and < 1e18
            ? (long)(number * bytes)
            : null;
    }

    internal static string Seconds(double seconds) => seconds < 60 ? Invariant($"{seconds:0.0} s") : Hosting.Step.Format(TimeSpan.FromSeconds(seconds));
}
