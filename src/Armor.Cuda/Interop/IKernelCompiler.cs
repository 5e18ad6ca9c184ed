namespace Armor.Cuda.Interop;

/// <summary>Compiles CUDA C++ for a card.</summary>
internal interface IKernelCompiler
{
    /// <summary>What the compiler is, version included: part of the cache's key.</summary>
    string Name { get; }

    /// <summary>Compiles.</summary>
    /// <param name="source">CUDA C++ that needs no header.</param>
    /// <param name="capability">Ten times the major version and the minor one, such as 90.</param>
    /// <returns>What cuModuleLoadData takes.</returns>
    /// <exception cref="CudaException">Says what the compiler says.</exception>
    byte[] Compile(string source, int capability);
}
