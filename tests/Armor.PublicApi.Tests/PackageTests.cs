using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Xml.Linq;
using Armor.Core.Modules;
using Armor.Runtime.Models;

namespace Armor.PublicApi.Tests;

/// <summary>What <c>dotnet pack</c> gives, seen from a project that knows the packages only.</summary>
[Category("Packages")]
public class PackageTests
{
    private const string EmbeddedSource = "0e8a571b-6926-466e-b4ad-8ab04611f5fe"; // of the portable PDB format
    private const string ToolPackage = "Armor.Cli";
    private const string ChatPackage = "Armor.Extensions.AI";
    private const string CudaPackage = "Armor.Cuda";
    private const string OnnxPackage = "Armor.Onnx";
    private static readonly string[] Ours = ["Armor.Runtime", ChatPackage, CudaPackage, "Armor.Core", OnnxPackage, ToolPackage];

    private static readonly string[] Linkers = ["clang", "gcc"];

    private readonly TemporaryFolder work = new();
    private readonly string version = $"0.1.0-test.{Guid.NewGuid():N}";

    [OneTimeSetUp]
    public void Pack()
    {
        // A filter over the solution, so that one run builds each project once; everything is written under the temporary folder.
        string projects = string.Join(", ", Ours.Select(name => $"\"src/{name}/{name}.csproj\""));
        string solution = Path.Combine(RepositoryFolder.Root, "Armor.Core.sln").Replace('\\', '/');
        string filter = work.File("packages.slnf");
        File.WriteAllText(filter, $$"""{ "solution": { "path": "{{solution}}", "projects": [{{projects}}] } }""");
        DotNet.Run(
            RepositoryFolder.Root, "pack", filter, "-c", "Release", "--artifacts-path", work.File("artifacts"),
            $"-p:Version={version}", $"-p:PackageOutputPath={Feed}", "-p:ContinuousIntegrationBuild=true");
    }

    [OneTimeTearDown]
    public void DeleteWhatWasRestored()
    {
        foreach (string name in Ours)
        {
            string cached = Path.Combine(DotNet.GlobalPackages, name.ToLowerInvariant(), version);
            if (Directory.Exists(cached))
            {
                Directory.Delete(cached, recursive: true);
            }
        }

        work.Dispose();
    }

    private string Feed => work.File("feed");

    [Test]
    public void PackGivesThesePackagesAndNoOthers()
    {
        string[] expected = [.. Ours.SelectMany(name => new[] { $"{name}.{version}.nupkg", $"{name}.{version}.snupkg" })];
        Assert.That(Directory.GetFiles(Feed).Select(Path.GetFileName), Is.EquivalentTo(expected));
    }

    [TestCaseSource(nameof(Ours))]
    public void PackageSaysWhatItIs(string name)
    {
        using ZipArchive package = Open(name, ".nupkg");
        XElement metadata = Nuspec(package, name);
        string? Field(string field) => metadata.Elements().SingleOrDefault(element => element.Name.LocalName == field)?.Value;
        XElement licence = metadata.Elements().Single(element => element.Name.LocalName == "license");
        XElement repository = metadata.Elements().Single(element => element.Name.LocalName == "repository");
        Assert.Multiple(() =>
        {
            Assert.That(Field("id"), Is.EqualTo(name));
            Assert.That(Field("version"), Is.EqualTo(version));
            Assert.That(licence.Value, Is.EqualTo("MIT"));
            Assert.That(licence.Attribute("type")?.Value, Is.EqualTo("expression"));
            Assert.That(Field("readme"), Is.EqualTo("README.md"));
            Assert.That(Field("description"), Has.Length.GreaterThan(40).And.Not.EqualTo("Package Description"));
            Assert.That(Field("tags"), Does.Contain("pruning"));
            Assert.That(Field("authors"), Is.Not.Empty.And.Not.EqualTo(name));
            Assert.That(repository.Attribute("type")?.Value, Is.EqualTo("git"));
            Assert.That(package.GetEntry("README.md"), Is.Not.Null);
        });
    }

    [TestCaseSource(nameof(Ours))]
    public void PackageHoldsManagedCodeOnly(string name)
    {
        using ZipArchive package = Open(name, ".nupkg");
        string[] libraries = [.. package.Entries.Select(entry => entry.Name).Where(file =>
            file.EndsWith(".so", StringComparison.Ordinal) || file.Contains(".so.", StringComparison.Ordinal) || file.EndsWith(".dylib", StringComparison.Ordinal))];
        Assert.That(libraries, Is.Empty);
        ZipArchiveEntry[] assemblies = [.. package.Entries.Where(entry => Path.GetExtension(entry.Name) is ".dll" or ".exe")];
        Assert.That(assemblies, Is.Not.Empty);
        foreach (ZipArchiveEntry assembly in assemblies)
        {
            using var image = new PEReader(new MemoryStream(Bytes(assembly)));
            Assert.That(image.HasMetadata, Is.True, $"{assembly.FullName} is native");
        }
    }

    [TestCase("Armor.Runtime")]
    [TestCase(ChatPackage)]
    [TestCase(CudaPackage)]
    [TestCase("Armor.Core")]
    [TestCase(OnnxPackage)]
    public void LibraryPackageHoldsTheAssemblyAndItsDocumentation(string name)
    {
        using ZipArchive package = Open(name, ".nupkg");
        string[] content = [.. package.Entries.Select(entry => entry.FullName).Where(path => path.StartsWith("lib/", StringComparison.Ordinal))];
        Assert.That(content, Is.EquivalentTo(new[] { $"lib/net10.0/{name}.dll", $"lib/net10.0/{name}.xml" }));
        using var image = new PEReader(new MemoryStream(Bytes(package.GetEntry($"lib/net10.0/{name}.dll")!)));
        Assert.That(image.ReadDebugDirectory().Select(entry => entry.Type), Does.Contain(DebugDirectoryEntryType.Reproducible));
    }

    [Test]
    public void RuntimeNeedsNoTorchAndCoreLeavesTheChoiceOfLibtorch()
    {
        string[] Dependencies(string name)
        {
            using ZipArchive package = Open(name, ".nupkg");
            return [.. Nuspec(package, name).Descendants().Where(element => element.Name.LocalName == "dependency")
                .Select(element => $"{element.Attribute("id")!.Value} {element.Attribute("version")!.Value}")];
        }

        Assert.That(Dependencies("Armor.Runtime"), Has.None.Contain("orch"));
        string[] chat = Dependencies(ChatPackage);
        Assert.That(chat, Does.Contain($"Armor.Runtime {version}"));
        Assert.That(chat, Has.Length.EqualTo(3).And.All.Matches("^(Armor.Runtime|Microsoft.Extensions.[A-Za-z.]*Abstractions) "));
        Assert.That(Dependencies(CudaPackage), Is.EqualTo(new[] { $"Armor.Runtime {version}" }));
        string[] core = Dependencies("Armor.Core");
        Assert.That(core, Does.Contain($"Armor.Runtime {version}"));
        Assert.That(core, Has.One.StartsWith("TorchSharp ").And.None.StartsWith("libtorch").And.None.StartsWith("TorchSharp-"));
        string[] onnx = Dependencies(OnnxPackage);
        Assert.That(onnx, Does.Contain($"Armor.Core {version}"));
        Assert.That(onnx, Has.One.StartsWith("Microsoft.ML.OnnxRuntime.Managed ").And.None.StartsWith("Microsoft.ML.OnnxRuntime ").And.None.StartsWith("Grpc"));
    }

    [Test]
    public void ToolPackageNamesItsCommandAndHoldsItsAssemblies()
    {
        using ZipArchive package = Open(ToolPackage, ".nupkg");
        ZipArchiveEntry settings = package.Entries.Single(entry => entry.Name == "DotnetToolSettings.xml");
        string folder = settings.FullName[..^settings.Name.Length];
        XElement command = XDocument.Parse(Text(settings)).Descendants("Command").Single();
        Assert.That(command.Attribute("Name")?.Value, Is.EqualTo("armor"));
        string[] files = [.. package.Entries.Where(entry => entry.FullName.StartsWith(folder, StringComparison.Ordinal)).Select(entry => entry.Name)];
        Assert.That(files, Is.SupersetOf(new[] { command.Attribute("EntryPoint")!.Value, "Armor.Core.dll", "Armor.Onnx.dll", "Armor.Runtime.dll", "TorchSharp.dll" }));
    }

    [TestCaseSource(nameof(Ours))]
    public void SymbolsCarryTheSources(string name)
    {
        using ZipArchive package = Open(name, ".snupkg");
        ZipArchiveEntry symbols = package.Entries.Single(entry => entry.Name == $"{name}.pdb");
        using MetadataReaderProvider provider = MetadataReaderProvider.FromPortablePdbStream(new MemoryStream(Bytes(symbols)));
        MetadataReader reader = provider.GetMetadataReader();
        string[] without = [.. reader.Documents
            .Where(document => !reader.GetCustomDebugInformation(document)
                .Select(reader.GetCustomDebugInformation)
                .Any(information => reader.GetGuid(information.Kind) == Guid.Parse(EmbeddedSource)))
            .Select(document => reader.GetString(reader.GetDocument(document).Name))];
        Assert.That(reader.Documents, Is.Not.Empty);
        Assert.That(without, Is.Empty);
    }

    [Test]
    public void ProjectOutsideTheSolutionRestoresThePackagesAndRunsTheThreeLines()
    {
        string project = Path.Combine(RepositoryFolder.Root, "samples", "ThreeLines", "ThreeLines.csproj");
        DotNet.Run(
            Path.GetDirectoryName(project)!, "build", project, "-c", "Release", "--artifacts-path", work.File("sample"),
            $"-p:ArmorVersion={version}", $"-p:RestoreAdditionalProjectSources={Feed}");
        string program = Directory.GetFiles(work.File("sample/bin"), "ThreeLines.dll", SearchOption.AllDirectories).Single();

        string model = work.File("model");
        ModelOfBytes.Write(model);
        string pruned = work.File("pruned");
        string output = DotNet.Run(work.Path, program, model, pruned);

        Assert.That(output, Does.Contain("One weight: loss").And.Contain("14 linears pruned"));
        using CausalLanguageModel loaded = CausalLanguageModel.Load(pruned);
        Assert.That(loaded.Configuration.LayerCount, Is.EqualTo(ModelConfiguration.Load(model).LayerCount));
    }

    [Test]
    public void OnnxSampleExportsPrunesAndGenerates()
    {
        string project = Path.Combine(RepositoryFolder.Root, "samples", "OnnxPrune", "OnnxPrune.csproj");
        DotNet.Run(
            Path.GetDirectoryName(project)!, "build", project, "-c", "Release", "--artifacts-path", work.File("onnx-sample"),
            $"-p:ArmorVersion={version}", $"-p:RestoreAdditionalProjectSources={Feed}");
        string program = Directory.GetFiles(work.File("onnx-sample/bin"), "OnnxPrune.dll", SearchOption.AllDirectories).Single();

        string model = work.File("onnx-source");
        ModelOfBytes.Write(model);
        string text = work.File("onnx-calibration.txt");
        File.WriteAllText(text, string.Join("\n\n", Enumerable.Range(1, 8).Select(i => $"{i} times {i} is {i * i}; the sky is blue and the grass is green.")));
        string output = DotNet.Run(work.Path, program, model, work.File("onnx"), text);

        Assert.That(output, Does.Contain("Exported: 14 linears").And.Contain("Pruned: 14 weights, 1 left as they are"));
        Assert.That(output, Does.Contain("model.onnx: Once upon a time").And.Contain("pruned.onnx: Once upon a time"));
        Assert.That(Directory.GetFiles(work.File("onnx")).Select(Path.GetFileName), Is.SupersetOf(new[] { "model.onnx", "pruned.onnx", "genai_config.json" }));
    }

    [Test]
    public void NativeSamplePublishesWithoutAWarningAndGenerates()
    {
        if (OperatingSystem.IsWindows() || !Linkers.Any(IsOnPath))
        {
            Assert.Ignore($"Ahead-of-time compilation needs a linker: looked on the path for {string.Join(" or ", Linkers)}.");
        }

        // Warnings are errors in the sample's project.
        string project = Path.Combine(RepositoryFolder.Root, "samples", "GenerateAot", "GenerateAot.csproj");
        DotNet.Run(
            Path.GetDirectoryName(project)!, "publish", project, "-c", "Release", "--artifacts-path", work.File("aot"),
            $"-p:ArmorVersion={version}", $"-p:RestoreAdditionalProjectSources={Feed}");
        string program = Directory.GetFiles(work.File("aot/publish"), "GenerateAot", SearchOption.AllDirectories).Single();
        Assert.That(new FileInfo(program).Length, Is.LessThan(8 << 20));

        string model = work.File("native-model");
        ModelOfBytes.Write(model);
        Assert.That(DotNet.RunProgram(work.Path, program, model, "Once", "12"), Does.StartWith("Once").And.Length.GreaterThan("Once\n".Length));
    }

    private static bool IsOnPath(string program) => (Environment.GetEnvironmentVariable("PATH") ?? string.Empty)
        .Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, program)));

    private ZipArchive Open(string name, string extension) => ZipFile.OpenRead(Path.Combine(Feed, $"{name}.{version}{extension}"));

    private static XElement Nuspec(ZipArchive package, string name) =>
        XDocument.Parse(Text(package.GetEntry($"{name}.nuspec")!)).Root!.Elements().Single(element => element.Name.LocalName == "metadata");

    private static string Text(ZipArchiveEntry entry)
    {
        using var reader = new StreamReader(entry.Open());
        return reader.ReadToEnd();
    }

    private static byte[] Bytes(ZipArchiveEntry entry)
    {
        using Stream stream = entry.Open();
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return bytes.ToArray();
    }
}
