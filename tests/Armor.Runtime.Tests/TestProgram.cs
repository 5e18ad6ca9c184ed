using System.Runtime.InteropServices;
using System.Security;
using Armor.Runtime.Kernels.Cpu;
using Armor.Runtime.Tests.Generation;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Armor.Runtime.Tests;

/// <summary>
/// This assembly as a program: <see cref="LogitsProgram"/>, or with an argument the tests whose full names match that regular expression, one after another
/// and without a test host, which is how tests/run-on-arm.sh runs them where another processor is emulated.
/// </summary>
internal static class TestProgram
{
    internal static int Main(string[] arguments)
    {
        if (arguments is not [var pattern])
        {
            LogitsProgram.Run();
            return 0;
        }

        Console.WriteLine($"{RuntimeInformation.ProcessArchitecture}, {InstructionSets.NameOf(InstructionSets.Best)}");
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        runner.Load(typeof(TestProgram).Assembly, new Dictionary<string, object> { ["NumberOfTestWorkers"] = 0 });
        var result = runner.Run(TestListener.NULL, TestFilter.FromXml($"<filter><test re=\"1\">{SecurityElement.Escape(pattern)}</test></filter>"));
        WriteFailures(result);
        Console.WriteLine($"{result.PassCount} passed, {result.FailCount} failed, {result.SkipCount} skipped in {result.Duration:f0} s");
        return result.FailCount == 0 && result.PassCount > 0 ? 0 : 1;
    }

    private static void WriteFailures(ITestResult result)
    {
        if (!result.HasChildren && result.ResultState.Status == TestStatus.Failed)
        {
            Console.WriteLine($"Failed {result.FullName}\n{result.Message}");
        }

        foreach (var child in result.Children)
        {
            WriteFailures(child);
        }
    }
}
