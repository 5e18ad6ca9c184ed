using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Tests.Kernels;

[TestFixture(InstructionSet.Vector128, 1)]
[TestFixture(InstructionSet.Avx2, 2)]
[TestFixture(InstructionSet.Avx512, 1)]
[TestFixture(InstructionSet.Avx512, 3)]
internal class CpuBackendTests(InstructionSet set, int threads) : KernelConformanceTests(Create(set, threads), 1e-11)
{
    private static CpuBackend Create(InstructionSet set, int threads)
    {
        // Where the processor lacks it, the next narrower one is tested again.
        var narrower = set > InstructionSets.Best ? InstructionSets.Best : set;
        return new CpuBackend(new CpuBackendOptions { Threads = threads, InstructionSet = narrower });
    }
}
