using System.Globalization;
using System.Text;

namespace Armor.Runtime.Tokenization;

/// <summary>
/// Unicode's canonical decomposition (NFD) and composition (NFC). Written out because <see cref="string.Normalize()"/> silently returns its
/// input where an application runs in the invariant globalization mode, and because ids must not depend on the machine's ICU.
/// The algorithm is Unicode's UAX 15 with the Hangul arithmetic of The Unicode Standard, 3.12; the data is canonical-forms.txt beside this file.
/// </summary>
internal static class CanonicalForm
{
    private const int FirstSyllable = 0xAC00;
    private const int FirstLead = 0x1100;
    private const int FirstVowel = 0x1161;
    private const int FirstTail = 0x11A7; // one before the first trailing consonant
    private const int LeadCount = 19;
    private const int VowelCount = 21;
    private const int TailCount = 28;
    private const int SyllableCount = LeadCount * VowelCount * TailCount;

    private static readonly Lazy<Tables> Data = new(Tables.Load);

    /// <summary>The normalization form C.</summary>
    internal static string Compose(string text) => IsBelow(text, '\u0300') ? text : Build(Recompose(Expand(text)));

    /// <summary>The normalization form D.</summary>
    internal static string Decompose(string text) => IsBelow(text, '\u00C0') ? text : Build(Expand(text));

    private static bool IsBelow(string text, char bound) => text.AsSpan().IndexOfAnyInRange(bound, char.MaxValue) < 0;

    private static List<int> Expand(string text)
    {
        Tables tables = Data.Value;
        var points = new List<int>(text.Length + 16);
        for (int index = 0; index < text.Length; index++)
        {
            int point = text[index];
            if (char.IsHighSurrogate(text[index]) && index + 1 < text.Length && char.IsLowSurrogate(text[index + 1]))
            {
                point = char.ConvertToUtf32(text[index], text[++index]);
            }

            Expand(tables, point, points);
        }

        Reorder(tables, points);
        return points;
    }

    private static void Expand(Tables tables, int point, List<int> points)
    {
        int syllable = point - FirstSyllable;
        if (syllable is >= 0 and < SyllableCount)
        {
            points.Add(FirstLead + (syllable / (VowelCount * TailCount)));
            points.Add(FirstVowel + (syllable % (VowelCount * TailCount) / TailCount));
            if (syllable % TailCount != 0)
            {
                points.Add(FirstTail + (syllable % TailCount));
            }
        }
        else if (tables.Decompositions.TryGetValue(point, out (int First, int Second) pair))
        {
            Expand(tables, pair.First, points);
            if (pair.Second != 0)
            {
                Expand(tables, pair.Second, points);
            }
        }
        else
        {
            points.Add(point);
        }
    }

    /// <summary>Sorts every run of combining marks by combining class, stably.</summary>
    private static void Reorder(Tables tables, List<int> points)
    {
        int start = 0;
        while (start < points.Count)
        {
            if (tables.Class(points[start]) == 0)
            {
                start++;
                continue;
            }

            int end = start + 1;
            while (end < points.Count && tables.Class(points[end]) != 0)
            {
                end++;
            }

            if (end - start > 1)
            {
                int[] sorted = [.. points.GetRange(start, end - start).OrderBy(tables.Class)];
                for (int index = 0; index < sorted.Length; index++)
                {
                    points[start + index] = sorted[index];
                }
            }

            start = end;
        }
    }

    private static List<int> Recompose(List<int> points)
    {
        Tables tables = Data.Value;
        var result = new List<int>(points.Count);
        int starter = -1;
        int lastClass = 0;
        foreach (int point in points)
        {
            int combiningClass = tables.Class(point);
            bool adjacent = starter == result.Count - 1;
            bool blocked = !adjacent && (lastClass == 0 || lastClass >= combiningClass);
            if (starter >= 0 && !blocked && TryCompose(tables, result[starter], point, out int composed))
            {
                result[starter] = composed;
                continue;
            }

            if (combiningClass == 0)
            {
                starter = result.Count;
            }

            lastClass = combiningClass;
            result.Add(point);
        }

        return result;
    }

    private static bool TryCompose(Tables tables, int first, int second, out int composed)
    {
        int lead = first - FirstLead;
        int vowel = second - FirstVowel;
        if (lead is >= 0 and < LeadCount && vowel is >= 0 and < VowelCount)
        {
            composed = FirstSyllable + (((lead * VowelCount) + vowel) * TailCount);
            return true;
        }

        int syllable = first - FirstSyllable;
        int tail = second - FirstTail;
        if (syllable is >= 0 and < SyllableCount && syllable % TailCount == 0 && tail is > 0 and < TailCount)
        {
            composed = first + tail;
            return true;
        }

        return tables.Compositions.TryGetValue((first, second), out composed);
    }

    private static string Build(List<int> points)
    {
        var text = new StringBuilder(points.Count);
        foreach (int point in points)
        {
            if (point < 0x10000)
            {
                text.Append((char)point); // lone surrogates pass through
            }
            else
            {
                text.Append(char.ConvertFromUtf32(point));
            }
        }

        return text.ToString();
    }

    /// <summary>Lines of the data: "POINT FIRST [SECOND]" decomposes, "=POINT FIRST SECOND" also composes, "#POINT CLASS" is a combining class.</summary>
    private sealed class Tables
    {
        private readonly Dictionary<int, int> classes = [];

        internal Dictionary<int, (int First, int Second)> Decompositions { get; } = [];

        internal Dictionary<(int First, int Second), int> Compositions { get; } = [];

        internal static Tables Load()
        {
            var tables = new Tables();
            using Stream stream = typeof(CanonicalForm).Assembly.GetManifestResourceStream("Armor.Runtime.Tokenization.canonical-forms.txt")!;
            using var reader = new StreamReader(stream, Encoding.ASCII);
            while (reader.ReadLine() is { } line)
            {
                string[] parts = line.TrimStart('=', '#').Split(' ');
                int point = int.Parse(parts[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                int first = int.Parse(parts[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                int second = parts.Length < 3 ? 0 : int.Parse(parts[2], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                if (line[0] == '#')
                {
                    tables.classes[point] = first;
                    continue;
                }

                tables.Decompositions[point] = (first, second);
                if (line[0] == '=')
                {
                    tables.Compositions[(first, second)] = point;
                }
            }

            return tables;
        }

        internal int Class(int point) => point < 0x300 ? 0 : classes.GetValueOrDefault(point);
    }
}
