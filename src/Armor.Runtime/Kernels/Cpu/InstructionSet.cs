using System.Runtime.Intrinsics;
using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>The widest vectors that a backend uses.</summary>
internal enum InstructionSet
{
    /// <summary>128 bits: Arm, older x86, and any processor without vectors.</summary>
    Vector128,

    /// <summary>AVX2 with FMA.</summary>
    Avx2,

    /// <summary>AVX-512.</summary>
    Avx512,
}

/// <summary>What the processor has.</summary>
internal static class InstructionSets
{
    /// <summary>The widest one.</summary>
    public static InstructionSet Best => Vectors512.IsSupported ? InstructionSet.Avx512 : Vectors256.IsSupported ? InstructionSet.Avx2 : InstructionSet.Vector128;

    /// <summary>For reports.</summary>
    public static string NameOf(InstructionSet set) => set switch
    {
        InstructionSet.Avx512 => "AVX-512",
        InstructionSet.Avx2 => "AVX2",
        _ => Vector128.IsHardwareAccelerated ? "128-bit vectors" : "no vectors",
    };
}
