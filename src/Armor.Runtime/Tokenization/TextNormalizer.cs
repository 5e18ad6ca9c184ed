using System.Text;

namespace Armor.Runtime.Tokenization;

/// <summary>Rewrites a stretch of text before it is cut into pieces: the steps of a <c>tokenizer.json</c>'s normalizer, in order.</summary>
internal sealed class TextNormalizer(IReadOnlyList<TextNormalizer.Step> steps)
{
    internal static readonly TextNormalizer None = new([]);

    internal enum StepKind
    {
        Compose,
        Decompose,
        Prepend,
        Replace,
        CollapseSpaces,
    }

    internal bool PrependsSpace => steps.Any(step => step is { Kind: StepKind.Prepend, Content: " " or "▁" });

    internal string Apply(string text)
    {
        foreach (Step step in steps)
        {
            text = step.Kind switch
            {
                StepKind.Compose => CanonicalForm.Compose(text),
                StepKind.Decompose => CanonicalForm.Decompose(text),
                StepKind.CollapseSpaces => string.Join(' ', text.Split(' ', StringSplitOptions.RemoveEmptyEntries)),
                StepKind.Prepend => text.Length == 0 ? text : step.Content + text,
                _ => text.Replace(step.Pattern, step.Content, StringComparison.Ordinal),
            };
        }

        return text;
    }

    /// <summary>SentencePiece's identity rule: spaces are written <c>▁</c>.</summary>
    internal static TextNormalizer SentencePiece(bool collapseSpaces, bool prependSpace) => new(
    [
        .. collapseSpaces ? [new Step(StepKind.CollapseSpaces)] : Array.Empty<Step>(),
        .. prependSpace ? [new Step(StepKind.Prepend, Content: "▁")] : Array.Empty<Step>(),
        new Step(StepKind.Replace, " ", "▁"),
    ]);

    /// <summary>Reads a normalizer.</summary>
    /// <exception cref="Checkpoints.CheckpointException">A step is of an unknown kind.</exception>
    internal static TextNormalizer Read(JsonReading reading)
    {
        var steps = new List<Step>();
        if (!reading.IsNull)
        {
            Read(reading, steps, depth: 0);
        }

        return steps.Count == 0 ? None : new TextNormalizer(steps);
    }

    private static void Read(JsonReading reading, List<Step> steps, int depth)
    {
        string type = reading.Type();
        switch (type)
        {
            case "Sequence" when depth < 8:
                foreach (JsonReading item in reading.Array("normalizers"))
                {
                    Read(item, steps, depth + 1);
                }

                break;
            case "NFC":
                steps.Add(new Step(StepKind.Compose));
                break;
            case "NFD":
                steps.Add(new Step(StepKind.Decompose));
                break;
            case "Prepend":
                steps.Add(new Step(StepKind.Prepend, Content: reading.String("prepend")));
                break;
            case "Replace" when !reading.Object("pattern").Optional("String").IsNull && reading.Object("pattern").String("String").Length > 0:
                steps.Add(new Step(StepKind.Replace, reading.Object("pattern").String("String"), reading.String("content")));
                break;
            default:
                throw TokenizerErrors.Create(
                    reading.File, $"'{reading.Place}' is a normalizer that is not supported",
                    "Sequence, NFC, NFD, Prepend or Replace of a string", reading.Element.GetRawText());
        }
    }

    internal sealed record Step(StepKind Kind, string Pattern = "", string Content = "");
}
