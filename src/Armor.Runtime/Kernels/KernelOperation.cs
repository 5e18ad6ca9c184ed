namespace Armor.Runtime.Kernels;

/// <summary>What a backend can be asked to multiply by.</summary>
public enum KernelOperation
{
    /// <summary>A dense weight: y = W·x.</summary>
    Dense,

    /// <summary>A plain sparse core: y = S·x.</summary>
    SparseCore,

    /// <summary>A factorised layer: y = A·(S·(B·x)).</summary>
    Armor,
}
