using System.Text.RegularExpressions;

namespace Armor.PublicApi.Tests;

/// <summary>Links between the documents lead somewhere.</summary>
public sealed partial class DocumentationLinkTests
{
    private static readonly string Root = Path.GetFullPath(RepositoryFolder.Path("."));

    private static IEnumerable<TestCaseData> Documents() =>
        Directory.EnumerateFiles(Root, "*.md")
            .Concat(Directory.EnumerateFiles(Path.Combine(Root, "docs"), "*.md", SearchOption.AllDirectories))
            .Concat(Directory.EnumerateFiles(Path.Combine(Root, "benchmarks", "results"), "*.md"))
            .Order(StringComparer.Ordinal)
            .Select(path => new TestCaseData(path).SetArgDisplayNames(Path.GetRelativePath(Root, path)));

    [TestCaseSource(nameof(Documents))]
    public void LinksLeadToFilesAndHeadings(string path)
    {
        string folder = Path.GetDirectoryName(path)!;
        string[] broken = [.. Link.Matches(File.ReadAllText(path)).Select(match => match.Groups["target"].Value)
            .Where(target => !target.Contains("://", StringComparison.Ordinal) && !Exists(target))];
        Assert.That(broken, Is.Empty);

        bool Exists(string target)
        {
            string[] parts = target.Split('#', 2);
            string file = parts[0].Length == 0 ? path : Path.Combine(folder, parts[0]);
            return File.Exists(file) || Directory.Exists(file)
                ? parts.Length == 1 || Anchors(file).Contains(parts[1])
                : false;
        }
    }

    // As GitHub makes them: lower case, spaces to hyphens, punctuation dropped.
    private static HashSet<string> Anchors(string file) =>
        [.. Heading.Matches(File.ReadAllText(file)).Select(match =>
            Punctuation.Replace(match.Groups["text"].Value.Trim().ToLowerInvariant(), string.Empty).Replace(' ', '-'))];

    [GeneratedRegex(@"\]\((?<target>[^)\s]+)\)")]
    private static partial Regex Link { get; }

    [GeneratedRegex(@"^#{1,6} (?<text>.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading { get; }

    [GeneratedRegex(@"[^\p{L}\p{N}\- _]")]
    private static partial Regex Punctuation { get; }
}
