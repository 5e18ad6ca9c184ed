namespace Armor.Core.Evaluation.Tasks.Data;

/// <summary>
/// Cuts WikiText into pages at the headings of the first level, as the page-level edition of the data set does, whose pages the harness measures.
/// </summary>
internal static class WikiPages
{
    /// <summary>The pages of a raw file, as rows with the field <c>page</c>.</summary>
    public static IEnumerable<TaskRow> ReadText(string path) => ToRows(path, File.ReadAllText(path));

    /// <summary>The pages of rows that hold one line each, in the field <c>text</c>.</summary>
    public static IEnumerable<TaskRow> Join(string place, IEnumerable<TaskRow> lines) =>
        ToRows(place, string.Concat(lines.Select(line => line.Text("text"))));

    /// <summary>The pages of a text: a line such as <c> = Robert Boulter = </c> begins one.</summary>
    public static IEnumerable<string> Cut(string text)
    {
        var page = new List<string>();
        foreach (string line in text.Split('\n'))
        {
            string heading = line.Replace("= = =", "===", StringComparison.Ordinal).Replace("= =", "==", StringComparison.Ordinal).Trim();
            if (heading.StartsWith("= ", StringComparison.Ordinal) && heading.EndsWith(" =", StringComparison.Ordinal))
            {
                if (page.Exists(each => !string.IsNullOrWhiteSpace(each)))
                {
                    yield return string.Join('\n', page);
                }

                page.Clear();
            }

            page.Add(line);
        }

        if (page.Exists(each => !string.IsNullOrWhiteSpace(each)))
        {
            yield return string.Join('\n', page);
        }
    }

    private static IEnumerable<TaskRow> ToRows(string place, string text) => Cut(text).Select((page, index) => new TaskRow(
        FormattableString.Invariant($"{place}, page {index + 1}"), System.Text.Json.JsonSerializer.SerializeToElement(new { page })));
}
