using Armor.Core.Evaluation.Tasks.Data;

namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>The tasks of running text: the last word of a passage, and whole documents.</summary>
internal static class TextTasks
{
    /// <summary>LAMBADA (Paperno et al., arXiv 1606.06031) in OpenAI's edition; also rows cut into context and continuation before.</summary>
    public static TaskDefinition Lambada() => new()
    {
        Name = "lambada_openai",
        Version = "1.0",
        Data = new TaskDataSet("lambada_openai", "lambada_openai", "lambada"),
        Splits = ["test", "lambada_openai"],
        FewShot = FewShotRule.Sampled("train", "validation", "test", "lambada_openai"),
        Reader = () => row =>
        {
            string text = row.Has("text") ? row.Text("text") : $"{row.Text("context")} {row.Text("continuation")}";
            int space = text.LastIndexOf(' ');
            return space > 0 ? new WordItem(text[..space], text[space..]) : throw row.Wrong("text", "a text of several words", TaskRow.Show(text));
        },
    };

    /// <summary>WikiText-2 (Merity et al., arXiv 1609.07843), page by page.</summary>
    public static TaskDefinition WikiText() => new()
    {
        Name = "wikitext",
        Version = "2.0",
        Data = new TaskDataSet("wikitext", "wikitext", "wikitext/wikitext-2-raw-v1", "wikitext_document_level/wikitext-2-raw-v1"),
        Splits = ["test"],
        FewShot = FewShotRule.None,
        Rearrange = Pages,
        Reader = () => row => new DocumentItem(row.Text("page"), Detokenizer.Join(row.Text("page"))),
    };

    /// <summary>C4 (Raffel et al., arXiv 1910.10683), document by document.</summary>
    public static TaskDefinition C4() => new()
    {
        Name = "c4",
        Version = "0.0",
        Data = new TaskDataSet("c4", "c4", "c4/en", "c4/en.noblocklist"),
        Splits = ["validation"],
        FewShot = FewShotRule.None,
        Reader = () => row => new DocumentItem(row.Text("text"), Detokenizer.Join(row.Text("text"))),
    };

    private static IEnumerable<TaskRow> Pages(string place, IEnumerable<TaskRow> rows)
    {
        // Rows that hold a page each are told from rows of one line by their field.
        using IEnumerator<TaskRow> each = rows.GetEnumerator();
        if (!each.MoveNext())
        {
            return [];
        }

        return each.Current.Has("page") ? rows : WikiPages.Join(place, rows);
    }
}
