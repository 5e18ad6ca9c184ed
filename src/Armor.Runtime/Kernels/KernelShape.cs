using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels;

/// <summary>The sizes of a multiplication.</summary>
/// <param name="Rows">d_out.</param>
/// <param name="Columns">d_in.</param>
/// <param name="Batch">The number of inputs.</param>
/// <param name="OutputBlock">The block size of A; 1 for the identity.</param>
/// <param name="InputBlock">The block size of B, or of a block-diagonal matrix by itself; 1 for the identity.</param>
/// <param name="Pattern">The pattern of a core; 2:4 where left out.</param>
public readonly record struct KernelShape(int Rows, int Columns, int Batch, int OutputBlock = 1, int InputBlock = 1, SparsityPattern Pattern = default);
