using Armor.Benchmarks.Pruning;
using BenchmarkDotNet.Running;

// `convergence` is one long comparison, not a repeated measurement; everything else is BenchmarkDotNet's.
if (args is ["convergence", .. var rest])
{
    return ConvergenceBenchmark.Run(rest);
}

BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
return 0;
