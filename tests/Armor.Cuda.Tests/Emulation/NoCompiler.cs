using Armor.Cuda.Interop;

namespace Armor.Cuda.Tests.Emulation;

/// <summary>Where no kernel is to be compiled.</summary>
internal sealed class NoCompiler : IKernelCompiler
{
    public string Name => "none";

    public byte[] Compile(string source, int capability) => throw new CudaException("There is no compiler.");
}
