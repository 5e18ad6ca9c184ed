using Armor.Benchmarks.Pruning;
using BenchmarkDotNet.Running;

// `convergence` and `cycle` are tables of their own, `cycle-chart` draws the latter; everything else is BenchmarkDotNet's.
if (args is ["convergence", .. var rest])
{
    return ConvergenceBenchmark.Run(rest);
}

if (args is ["cycle", .. var arguments])
{
    return CycleBenchmark.Run(arguments);
}

if (args is ["cycle-chart", .. var files])
{
    return CycleChart.Run(files);
}

BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
return 0;
