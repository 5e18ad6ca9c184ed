using System.Text;

namespace Armor.TinyModel.Corpus;

/// <summary>One book: its file name and text, paragraphs parted by a blank line.</summary>
internal sealed record Book(string File, string Text);

/// <summary>Reads the folder of public-domain books, without the titles that are unfit for a child-safe model.</summary>
internal static class Books
{
    private const string PeriodSlurs = "has period slurs";

    /// <summary>File names that are never read, each with its reason.</summary>
    public static readonly IReadOnlyDictionary<string, string> Excluded = new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["adventures_of_tom_sawyer.txt"] = PeriodSlurs,
        ["white_fang.txt"] = PeriodSlurs,
        ["peter_pan.txt"] = PeriodSlurs,
        ["story_of_doctor_dolittle.txt"] = PeriodSlurs,
        ["voyages_of_doctor_dolittle.txt"] = PeriodSlurs,
        ["the_lost_world.txt"] = PeriodSlurs,
        ["andersens_fairy_tales.txt"] = "the translator, and with him the public domain, is not verified",
    };

    /// <summary>Every book of a folder (not of its subfolders) that is not excluded, ordered by file name.</summary>
    public static IReadOnlyList<Book> Read(string folder)
    {
        var files = Directory.GetFiles(folder, "*.txt").Order(StringComparer.Ordinal).ToList();
        if (files.Count == 0)
        {
            throw new IOException($"{folder}: expected text files, found none");
        }

        return [.. files.Where(file => !Excluded.ContainsKey(Path.GetFileName(file))).Select(ReadBook)];
    }

    private static Book ReadBook(string file)
    {
        // One paragraph a line, blank lines between: normalised to exactly one blank line.
        var text = new StringBuilder();
        foreach (var line in File.ReadLines(file))
        {
            var paragraph = line.Trim();
            if (paragraph.Length > 0)
            {
                text.Append(text.Length > 0 ? "\n\n" : "").Append(paragraph);
            }
        }

        return new Book(Path.GetFileName(file), text.ToString());
    }
}
