using System.Globalization;
using System.Text;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// A checkpoint that breaks a rule of its format, misses a part, or cannot be written. Names the file and, where they are known, the tensor
/// and what was expected and found.
/// </summary>
public class CheckpointException : IOException
{
    /// <summary>Describes a broken rule.</summary>
    /// <param name="file">The file or folder.</param>
    /// <param name="problem">What is wrong, as a clause without a full stop.</param>
    /// <param name="tensor">The tensor, if one is concerned.</param>
    /// <param name="expected">What the rule asks for.</param>
    /// <param name="found">What is there.</param>
    /// <param name="innerException">The cause, if another exception is.</param>
    public CheckpointException(
        string file, string problem, string? tensor = null, string? expected = null, string? found = null, Exception? innerException = null)
        : base(Compose(file, problem, tensor, expected, found), innerException)
    {
        FilePath = file;
        Problem = problem;
        Tensor = tensor;
        Expected = expected;
        Found = found;
    }

    /// <summary>The file or folder concerned.</summary>
    public string FilePath { get; }

    /// <summary>What is wrong, without file, tensor and values.</summary>
    public string Problem { get; }

    /// <summary>The tensor concerned, or null.</summary>
    public string? Tensor { get; }

    /// <summary>What the rule asks for, or null.</summary>
    public string? Expected { get; }

    /// <summary>What was found, or null.</summary>
    public string? Found { get; }

    private static string Compose(string file, string problem, string? tensor, string? expected, string? found)
    {
        var text = new StringBuilder(file).Append(": ");
        if (tensor is not null)
        {
            text.Append("tensor '").Append(Short(tensor)).Append("': ");
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

    /// <summary>Names out of a hostile file may be of any length.</summary>
    private static string Short(string text) => text.Length <= 300 ? text : string.Concat(text.AsSpan(0, 297), "...");

    /// <summary>Control characters out of a hostile file must not reach a terminal.</summary>
    private static string Printable(string text)
        => text.Any(char.IsControl)
            ? string.Concat(text.Select(c => char.IsControl(c) ? string.Create(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}") : c.ToString()))
            : text;
}
