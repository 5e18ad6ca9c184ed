using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Filters;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Tests.Generation;

namespace Armor.Runtime.Tests;

internal static class EmulatedProgram
{
    internal static int Main(string[] arguments)
    {
        if (arguments.Length == 0)
        {
            LogitsProgram.Main();
            return 0;
        }

        Console.WriteLine($"{System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture}, {InstructionSets.NameOf(InstructionSets.Best)}");
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        runner.Load(typeof(EmulatedProgram).Assembly, new Dictionary<string, object> { ["NumberOfTestWorkers"] = 0 });
        var filter = TestFilter.FromXml($"<filter><namespace re=\"1\">{arguments[0]}</namespace></filter>");
        var result = runner.Run(TestListener.NULL, filter);
        Write(result);
        Console.WriteLine($"{result.PassCount} passed, {result.FailCount} failed, {result.SkipCount} skipped, {result.Duration:f1} s");
        return result.FailCount == 0 && result.PassCount > 0 ? 0 : 1;
    }

    private static void Write(ITestResult result)
    {
        if (!result.HasChildren && result.ResultState.Status == TestStatus.Failed)
        {
            Console.WriteLine($"Failed {result.FullName}\n{result.Message}");
        }

        foreach (var child in result.Children)
        {
            Write(child);
        }
    }
}
