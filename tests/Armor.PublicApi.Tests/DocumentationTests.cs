using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;

namespace Armor.PublicApi.Tests;

/// <summary>The C# in the documents compiles against the libraries as they are.</summary>
public sealed partial class DocumentationTests
{
    // What a reader's file has around a snippet: usings, and the things that the text speaks of.
    private const string Before =
        """
        using System;
        using System.Collections.Generic;
        using System.IO;
        using System.Linq;
        using System.Threading;
        using System.Threading.Tasks;
        using Armor.Core.Calibration;
        using Armor.Core.Evaluation.Tasks;
        using Armor.Core.Evaluation.Tasks.Results;
        using Armor.Core.Evaluation.Tasks.Scoring;
        using Armor.Core.Pruning;
        using Armor.Cuda;
        using Armor.Onnx;
        using Armor.Onnx.Calibration;
        using Armor.Onnx.Export;
        using Armor.Onnx.Pruning;
        using Armor.Onnx.Running;
        using Armor.Runtime.Chat;
        using Armor.Runtime.Generation;
        using Microsoft.ML.OnnxRuntime;
        using Microsoft.ML.OnnxRuntime.Tensors;
        using TorchSharp;
        using TensorElementType = Armor.Runtime.Checkpoints.TensorElementType;

        internal static class Snippet
        {
            private static readonly torch.Tensor weight = null!;
            private static readonly ActivationStatistics statistics = null!;
            private static readonly IReadOnlyList<string> calibrationTexts = [];

            internal static async Task RunAsync()
            {

        """;

    private const string After =
        """

                await Task.CompletedTask;
            }
        }
        """;

    private static readonly MetadataReference[] References =
        [.. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(path => MetadataReference.CreateFromFile(path))];

    private static IEnumerable<TestCaseData> Snippets()
    {
        string root = RepositoryFolder.Path(".");
        foreach (string file in new[] { Path.Combine(root, "README.md") }.Concat(Directory.EnumerateFiles(Path.Combine(root, "docs"), "*.md").Order()))
        {
            int number = 0;
            foreach (Match block in Block.Matches(File.ReadAllText(file)))
            {
                yield return new TestCaseData(block.Groups["code"].Value).SetArgDisplayNames($"{Path.GetFileName(file)} {++number}");
            }
        }
    }

    [TestCaseSource(nameof(Snippets))]
    public void ASnippetCompiles(string code) => Assert.That(Errors(code), Is.Empty);

    [Test]
    public void AStaleSnippetIsNoticed() => Assert.That(Errors("var model = ArmorModel.LoadFrom(\"path\");"), Has.Some.Contains("LoadFrom"));

    private static string[] Errors(string code)
    {
        SyntaxTree tree = CSharpSyntaxTree.ParseText(Before + code + After, new CSharpParseOptions(LanguageVersion.Latest));
        var compilation = CSharpCompilation.Create(
            "Snippet", [tree], References, new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable));
        return [.. compilation.GetDiagnostics().Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).Select(diagnostic => diagnostic.ToString())];
    }

    [GeneratedRegex(@"^```csharp\r?\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block { get; }
}
