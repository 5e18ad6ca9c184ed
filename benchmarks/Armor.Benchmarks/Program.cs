using Armor.Benchmarks.Evaluation;
using Armor.Benchmarks.Kernels;
using Armor.Benchmarks.Models;
using Armor.Benchmarks.Pruning;
using Armor.Benchmarks.Scale;
using BenchmarkDotNet.Running;

// `convergence`, `cycle`, `hessian-cycle`, `int8`, `kernels`, `load`, `model-1b` and `sharing` are tables of their own, `cycle-chart` draws the second, `scale` is
// one long run; everything else is BenchmarkDotNet's.
switch (args)
{
    case ["convergence", .. var arguments]:
        return ConvergenceBenchmark.Run(arguments);
    case ["cycle", .. var arguments]:
        return CycleBenchmark.Run(arguments);
    case ["hessian-cycle", .. var arguments]:
        return HessianCycleBenchmark.Run(arguments);
    case ["cycle-chart", .. var files]:
        return CycleChart.Run(files);
    case ["int8", .. var arguments]:
        return await QuantisedCoreBenchmark.RunAsync(arguments);
    case ["kernels", .. var arguments]:
        return KernelTable.Run(arguments);
    case ["load", .. var arguments]:
        return LoadTable.Run(arguments);
    case ["model-1b", .. var arguments]:
        return ModelTable.Run(arguments);
    case [ModelMemory.Verb, .. var arguments]:
        return ModelMemory.Run(arguments);
    case ["sharing", .. var arguments]:
        return SharingBenchmark.Run(arguments);
    case ["scale", .. var arguments]:
        return await ScaleBenchmark.RunAsync(arguments);
    default:
        BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
        return 0;
}
