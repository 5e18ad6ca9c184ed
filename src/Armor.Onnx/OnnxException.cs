using System.Text;

namespace Armor.Onnx;

/// <summary>
/// An ONNX file that breaks a rule of its format, holds what cannot be handled, or cannot be written or run. Names the file and, where they are known, the
/// part and what was expected and found.
/// </summary>
public sealed class OnnxException : IOException
{
    private const int LongestText = 300;

    /// <summary>Describes a problem.</summary>
    /// <param name="file">The file or folder.</param>
    /// <param name="problem">What is wrong, as a clause without a full stop.</param>
    /// <param name="part">The tensor, node or input concerned, such as <c>tensor 'fc.weight'</c>; null for the whole file.</param>
    /// <param name="expected">What the rule asks for.</param>
    /// <param name="found">What is there.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public OnnxException(
        string file, string problem, string? part = null, string? expected = null, string? found = null, Exception? innerException = null)
        : base(Compose(file, problem, part, expected, found), innerException)
    {
        FilePath = file;
        Problem = problem;
        Part = part;
        Expected = expected;
        Found = found;
    }

    /// <summary>The file or folder concerned.</summary>
    public string FilePath { get; }

    /// <summary>What is wrong, without file, part and values.</summary>
    public string Problem { get; }

    /// <summary>The tensor, node or input concerned, or null.</summary>
    public string? Part { get; }

    /// <summary>What the rule asks for, or null.</summary>
    public string? Expected { get; }

    /// <summary>What was found, or null.</summary>
    public string? Found { get; }

    private static string Compose(string file, string problem, string? part, string? expected, string? found)
    {
        var text = new StringBuilder(file).Append(": ");
        if (part is not null)
        {
            text.Append(Short(part)).Append(": ");
        }

        text.Append(problem);
        if (expected is not null)
        {
            text.Append("; expected ").Append(expected);
        }

        if (found is not null)
        {
            text.Append(expected is null ? "; found " : ", found ").Append(Short(found));
        }

        return Printable(text.Append('.').ToString());
    }

    // Names out of a hostile file may be of any length.
    private static string Short(string text) => text.Length <= LongestText ? text : string.Concat(text.AsSpan(0, LongestText - 3), "...");

    /// <summary>Text without control characters: those of a hostile file must not reach a terminal.</summary>
    internal static string Printable(string text) => text.Any(char.IsControl)
        ? string.Concat(text.Select(character => char.IsControl(character) ? FormattableString.Invariant($"\\u{(int)character:x4}") : character.ToString()))
        : text;
}
