using Armor.KernelConformance;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Tests.Kernels;

[TestFixture]
public class ReferenceBackendTests() : KernelConformanceTests(new ReferenceBackend(), 1e-14);
