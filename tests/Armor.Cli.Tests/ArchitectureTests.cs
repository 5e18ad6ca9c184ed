using ArchUnitNET.Domain;
using ArchUnitNET.Fluent;
using ArchUnitNET.Loader;
using ArchUnitNET.NUnit;
using static ArchUnitNET.Fluent.ArchRuleDefinition;
using Assembly = System.Reflection.Assembly;

namespace Armor.Cli.Tests;

/// <summary>Arrows point down only: Cli → Onnx → Core → Runtime, Cli → Cuda → Runtime, and pruning sees kernels through their interface alone.</summary>
public class ArchitectureTests
{
    private static readonly Assembly Runtime = typeof(Armor.Runtime.Checkpoints.CheckpointException).Assembly;
    private static readonly Assembly Core = typeof(Armor.Core.Calibration.ActivationStatistics).Assembly;
    private static readonly Assembly Cuda = typeof(Armor.Cuda.CudaBackend).Assembly;
    private static readonly Assembly Onnx = typeof(Armor.Onnx.OnnxException).Assembly;
    private static readonly Assembly Cli = Assembly.Load("Armor.Cli");

    private static readonly Architecture Architecture = new ArchLoader().LoadAssemblies(Runtime, Core, Onnx, Cli).Build();

    [Test]
    public void RuntimeKnowsNothingAboveItAndNoTorch() =>
        AssertReferences(Runtime, name => name.StartsWith("System", StringComparison.Ordinal) || name == "Microsoft.Win32.Primitives");

    [Test]
    public void CoreKnowsOnlyTheRuntimeBelowIt() =>
        AssertReferences(Core, name => !name.StartsWith("Armor.", StringComparison.Ordinal) || name == "Armor.Runtime");

    [Test]
    public void CudaKnowsOnlyTheRuntimeBelowIt() =>
        AssertReferences(Cuda, name => name.StartsWith("System", StringComparison.Ordinal) || name is "Armor.Runtime" or "Microsoft.Win32.Primitives");

    [Test]
    public void OnnxKnowsOnlyCoreAndRuntimeBelowIt() =>
        AssertReferences(Onnx, name => !name.StartsWith("Armor.", StringComparison.Ordinal) || name is "Armor.Core" or "Armor.Runtime");

    [Test]
    public void OnnxFilesAreReadWithoutTheirUses()
    {
        IArchRule rule = Types().That().ResideInAssembly(Onnx).And().ResideInNamespaceMatching(@"^Armor\.Onnx\.(Files|Graphs|Proto)$")
            .Should().NotDependOnAnyTypesThat().ResideInNamespaceMatching(@"^Armor\.(Onnx\.(Pruning|Export|Calibration|Running)|Core)(\..*)?$");
        rule.Check(Architecture);
    }

    [Test]
    public void PruningNeverSeesOneBackend()
    {
        IArchRule rule = Types().That().ResideInAssembly(Core).And().ResideInNamespaceMatching(@"^Armor\.Core\.Pruning(\..*)?$")
            .Should().NotDependOnAnyTypesThat().ResideInNamespaceMatching(@"^Armor\.Runtime\.Kernels\.Cpu(\..*)?$")
            .Because("pruning works with any IKernelBackend");
        rule.Check(Architecture);
    }

    [Test]
    public void StationsOfTheRuntimeDoNotLookUp()
    {
        IArchRule rule = Types().That().ResideInAssembly(Runtime).And().ResideInNamespaceMatching(@"^Armor\.Runtime\.(Factorization|Kernels)(\..*)?$")
            .Should().NotDependOnAnyTypesThat().ResideInNamespaceMatching(@"^Armor\.Runtime\.(Models|Generation|Tokenization)(\..*)?$");
        rule.Check(Architecture);
    }

    [Test]
    public void TheNamespacesOfTheRulesExist()
    {
        // A rule about a namespace that was renamed would hold for ever.
        string[] names = [.. Architecture.Types.Select(type => type.Namespace.FullName).Distinct()];
        Assert.That(names, Is.SupersetOf(new[]
        {
            "Armor.Core.Pruning", "Armor.Runtime.Kernels", "Armor.Runtime.Kernels.Cpu", "Armor.Runtime.Factorization", "Armor.Runtime.Models",
            "Armor.Runtime.Tokenization", "Armor.Onnx.Files", "Armor.Onnx.Graphs", "Armor.Onnx.Proto", "Armor.Onnx.Export",
        }));
    }

    private static void AssertReferences(Assembly assembly, Func<string, bool> allowed) =>
        Assert.That(assembly.GetReferencedAssemblies().Select(reference => reference.Name!).Where(name => !allowed(name)), Is.Empty);
}
