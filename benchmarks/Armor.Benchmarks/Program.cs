using Armor.Benchmarks.Pruning;
using Armor.Benchmarks.Scale;
using BenchmarkDotNet.Running;

// `convergence` and `scale` are long runs, not repeated measurements; everything else is BenchmarkDotNet's.
if (args is ["convergence", .. var rest])
{
    return ConvergenceBenchmark.Run(rest);
}

if (args is ["scale", .. var arguments])
{
    return await ScaleBenchmark.RunAsync(arguments);
}

BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
return 0;
