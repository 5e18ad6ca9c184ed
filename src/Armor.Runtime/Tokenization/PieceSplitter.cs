using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Armor.Runtime.Tokenization;

/// <summary>Cuts normalised text into the pieces inside which tokens are merged: a <c>tokenizer.json</c>'s pre-tokenizer.</summary>
internal sealed class PieceSplitter
{
    /// <summary>GPT-2's pattern, which the ByteLevel pre-tokenizer means by <c>use_regex</c>.</summary>
    private const string ByteLevelPattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>An untrusted pattern may backtrack without end.</summary>
    private static readonly TimeSpan MatchLimit = TimeSpan.FromSeconds(30);

    internal static readonly PieceSplitter None = new();

    private readonly List<Cut> cuts = [];

    private PieceSplitter()
    {
    }

    private enum Behavior
    {
        Isolated,
        Removed,
        MergedWithPrevious,
        MergedWithNext,
    }

    private enum Prefix
    {
        Never,
        First,
        Always,
    }

    internal bool ByteLevel { get; private set; }

    /// <summary>Whether decoding takes the space off again; a byte-level prefix stays, as its decoder leaves it.</summary>
    internal bool PrependsSpace => Metaspace && MetaspacePrefix != Prefix.Never;

    private bool AddPrefixSpace { get; set; }

    private bool Metaspace { get; set; }

    private Prefix MetaspacePrefix { get; set; }

    /// <summary>The pieces of a stretch of text that lies between added tokens.</summary>
    /// <param name="text">The normalised stretch.</param>
    /// <param name="first">Whether the stretch starts the whole text.</param>
    internal List<string> Split(string text, bool first)
    {
        if (AddPrefixSpace && text.Length > 0 && text[0] != ' ')
        {
            text = " " + text;
        }

        if (Metaspace)
        {
            text = text.Replace(' ', '▁');
            bool prefix = MetaspacePrefix == Prefix.Always || (MetaspacePrefix == Prefix.First && first);
            text = prefix && text.Length > 0 && text[0] != '▁' ? "▁" + text : text;
        }

        var pieces = new List<string>();
        if (text.Length > 0)
        {
            pieces.Add(text);
        }

        foreach (Cut cut in cuts)
        {
            var finer = new List<string>();
            foreach (string piece in pieces)
            {
                Apply(cut, piece, finer);
            }

            pieces = finer;
        }

        return pieces;
    }

    /// <summary>Reads a pre-tokenizer.</summary>
    /// <exception cref="Checkpoints.CheckpointException">It is of an unknown kind, or its pattern cannot be compiled.</exception>
    internal static PieceSplitter Read(JsonReading reading)
    {
        var splitter = new PieceSplitter();
        if (!reading.IsNull)
        {
            splitter.Add(reading, depth: 0);
        }

        return splitter;
    }

    private static void Apply(Cut cut, string text, List<string> pieces)
    {
        CategoryShadow shadow = CategoryShadow.Of(text);
        int done = 0;
        int pending = 0; // the start of what waits to be joined with a later part
        foreach (ValueMatch match in cut.Pattern.EnumerateMatches(shadow.Text))
        {
            int start = shadow.ToOriginal(match.Index);
            int end = shadow.ToOriginal(match.Index + match.Length);
            if (end > start)
            {
                Emit(done, start, matched: cut.Invert);
                Emit(start, end, matched: !cut.Invert);
                done = end;
            }
        }

        Emit(done, text.Length, matched: cut.Invert);
        Flush(text.Length);

        void Emit(int start, int end, bool matched)
        {
            if (end == start)
            {
                return;
            }

            switch (cut.Behavior)
            {
                case Behavior.MergedWithPrevious when matched:
                    Flush(end);
                    break;
                case Behavior.MergedWithPrevious:
                    Flush(start);
                    break;
                case Behavior.MergedWithNext when matched:
                    Flush(start);
                    break;
                case Behavior.MergedWithNext:
                    Flush(end);
                    break;
                case Behavior.Removed when matched:
                    Flush(start);
                    pending = end;
                    break;
                default:
                    Flush(start);
                    Flush(end);
                    break;
            }
        }

        void Flush(int end)
        {
            if (end > pending)
            {
                pieces.Add(text[pending..end]);
                pending = end;
            }
        }
    }

    private void Add(JsonReading reading, int depth)
    {
        string type = reading.Type();
        switch (type)
        {
            case "Sequence" when depth < 8:
                foreach (JsonReading item in reading.Array("pretokenizers"))
                {
                    Add(item, depth + 1);
                }

                break;
            case "ByteLevel":
                ByteLevel = true;
                AddPrefixSpace |= reading.Flag("add_prefix_space", whenAbsent: true);
                if (reading.Flag("use_regex", whenAbsent: true))
                {
                    cuts.Add(new Cut(Compile(reading, ByteLevelPattern), Behavior.Isolated, Invert: false));
                }

                break;
            case "Split":
                AddSplit(reading);
                break;
            case "Digits":
                string digits = reading.Flag("individual_digits") ? @"\p{N}" : @"\p{N}+";
                cuts.Add(new Cut(Compile(reading, digits), Behavior.Isolated, Invert: false));
                break;
            case "Metaspace":
                AddMetaspace(reading);
                break;
            default:
                throw TokenizerErrors.Create(
                    reading.File, $"'{reading.Place}' is a pre-tokenizer that is not supported",
                    "Sequence, ByteLevel, Split, Digits or Metaspace", type);
        }
    }

    private void AddSplit(JsonReading reading)
    {
        JsonReading pattern = reading.Object("pattern");
        string expression = pattern.Optional("Regex").IsNull ? Regex.Escape(pattern.String("String")) : pattern.String("Regex");
        string name = reading.String("behavior");
        Behavior behavior = name switch
        {
            "Isolated" => Behavior.Isolated,
            "Removed" => Behavior.Removed,
            "MergedWithPrevious" => Behavior.MergedWithPrevious,
            "MergedWithNext" => Behavior.MergedWithNext,
            _ => throw TokenizerErrors.Create(
                reading.File, $"'{reading.Place}.behavior' is not supported", "Isolated, Removed, MergedWithPrevious or MergedWithNext", name),
        };
        cuts.Add(new Cut(Compile(reading, expression), behavior, reading.Flag("invert")));
    }

    private void AddMetaspace(JsonReading reading)
    {
        string replacement = reading.String("replacement");
        if (replacement != "▁")
        {
            throw TokenizerErrors.Create(reading.File, $"'{reading.Place}.replacement' is not supported", "'▁'", replacement);
        }

        Metaspace = true;
        JsonReading scheme = reading.Optional("prepend_scheme");
        string name = !scheme.IsNull ? scheme.AsString() : reading.Flag("add_prefix_space", whenAbsent: true) ? "always" : "never";
        MetaspacePrefix = name switch
        {
            "always" => Prefix.Always,
            "first" => Prefix.First,
            "never" => Prefix.Never,
            _ => throw TokenizerErrors.Create(reading.File, $"'{reading.Place}.prepend_scheme' is unknown", "always, first or never", name),
        };
        if (reading.Flag("split", whenAbsent: true))
        {
            cuts.Add(new Cut(Compile(reading, "▁"), Behavior.MergedWithNext, Invert: false));
        }
    }

    private static Regex Compile(JsonReading reading, string pattern)
    {
        try
        {
            RegexOptions speed = RuntimeFeature.IsDynamicCodeCompiled ? RegexOptions.Compiled : RegexOptions.None;
            return new Regex(pattern, RegexOptions.CultureInvariant | speed, MatchLimit);
        }
        catch (ArgumentException exception)
        {
            throw TokenizerErrors.Create(
                reading.File, $"the pattern of '{reading.Place}' cannot be used: {exception.Message}",
                "a regular expression that .NET knows", pattern, exception);
        }
    }

    private sealed record Cut(Regex Pattern, Behavior Behavior, bool Invert);
}
