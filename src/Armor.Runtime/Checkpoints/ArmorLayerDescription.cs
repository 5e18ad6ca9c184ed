namespace Armor.Runtime.Checkpoints;

/// <summary>A pruned linear of an ARMOR checkpoint, as its header tells.</summary>
/// <param name="Name">The linear without a suffix, such as <c>model.layers.0.self_attn.q_proj</c>.</param>
/// <param name="Rows">d_out.</param>
/// <param name="Columns">d_in.</param>
/// <param name="OutputBlock">The block size of A; null where A is the identity.</param>
/// <param name="InputBlock">The block size of B; null where B is the identity.</param>
/// <param name="Bytes">The stored size of wrappers, kept values with their scales, and mask.</param>
/// <param name="DenseBytes">The size of the dense weight in the type of its source.</param>
public sealed record ArmorLayerDescription(string Name, int Rows, int Columns, int? OutputBlock, int? InputBlock, long Bytes, long DenseBytes);
