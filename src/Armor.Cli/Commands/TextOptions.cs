using System.CommandLine;
using System.Globalization;
using System.Text;
using Armor.Cli.Hosting;
using Armor.Core.Evaluation;

namespace Armor.Cli.Commands;

/// <summary>How a text file becomes documents; the same for calibration and evaluation.</summary>
internal sealed class TextOptions
{
    internal Option<string> Separator { get; } = new("--separator")
    {
        Description = @"What lies between documents; \n, \r, \t, \\ and \uXXXX are understood.",
        HelpName = "TEXT",
        DefaultValueFactory = _ => TextCorpus.DefaultSeparator,
    };

    internal Option<int?> MinimumLength { get; } =
        Numbers.Integer("--min-length", "CHARS", "Leave out documents of this many characters or fewer (default 0).", minimum: 0);

    internal void AddTo(Command command)
    {
        Separator.Validators.Add(result =>
        {
            if (result.Tokens.Count == 1 && !TryUnescape(result.Tokens[0].Value, out _))
            {
                result.AddError($"--separator '{result.Tokens[0].Value}' has an unknown escape sequence; write \\\\ for a backslash.");
            }
        });
        command.Add(Separator);
        command.Add(MinimumLength);
    }

    /// <summary>The documents of a file.</summary>
    /// <exception cref="ToolException">The file cannot be read, or no document is left.</exception>
    internal IReadOnlyList<string> ReadDocuments(ParseResult parsed, string file)
    {
        TryUnescape(parsed.GetValue(Separator)!, out string separator);
        int minimum = parsed.GetValue(MinimumLength) ?? 0;
        IReadOnlyList<string> documents = TextCorpus.SplitDocuments(ReadText(file), separator, minimum);
        return documents.Count > 0
            ? documents
            : throw new ToolException($"{file}: no document to use; expected at least one of more than {minimum} characters, found none.");
    }

    internal static string ReadText(string file)
    {
        try
        {
            return File.ReadAllText(file);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new ToolException(exception is FileNotFoundException or DirectoryNotFoundException
                ? $"{file}: the file does not exist."
                : $"{file}: cannot be read: {exception.Message}");
        }
    }

    internal static bool TryUnescape(string text, out string result)
    {
        var plain = new StringBuilder(text.Length);
        result = string.Empty;
        for (int index = 0; index < text.Length; index++)
        {
            if (text[index] != '\\')
            {
                plain.Append(text[index]);
                continue;
            }

            char kind = ++index < text.Length ? text[index] : '\0';
            if (kind == 'u' && index + 4 < text.Length
                && ushort.TryParse(text.AsSpan(index + 1, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort code))
            {
                plain.Append((char)code);
                index += 4;
                continue;
            }

            char? meant = kind switch { 'n' => '\n', 'r' => '\r', 't' => '\t', '\\' => '\\', _ => null };
            if (meant is null)
            {
                return false;
            }

            plain.Append(meant.Value);
        }

        result = plain.ToString();
        return true;
    }
}
