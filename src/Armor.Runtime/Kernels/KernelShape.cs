using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels;

/// <summary>The sizes of a weight.</summary>
/// <param name="Rows">d_out.</param>
/// <param name="Columns">d_in.</param>
/// <param name="OutputBlock">The block size of A; 1 for the identity.</param>
/// <param name="InputBlock">The block size of B; 1 for the identity.</param>
/// <param name="Pattern">The pattern of a core; 2:4 where left out.</param>
public readonly record struct KernelShape(int Rows, int Columns, int OutputBlock = 1, int InputBlock = 1, SparsityPattern Pattern = default)
{
    /// <summary>The sizes of a factorised layer.</summary>
    /// <param name="layer">[d_out, d_in].</param>
    public static KernelShape Of(ArmorLayer layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        return new KernelShape(layer.Rows, layer.Columns, layer.OutputWrapper?.BlockSize ?? 1, layer.InputWrapper?.BlockSize ?? 1, layer.Core.Pattern);
    }
}
