using Armor.Core.Pruning;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// A factorised weight Ŵ = A·S·B under training: the parameters are the blocks of A and B and the kept values of S, whose mask stays. Its tensors
/// are views of the buffers of <see cref="TrainableFactors"/>.
/// </summary>
internal sealed class TrainableLinear
{
    private readonly SparseCore mask;
    private readonly Tensor columns;

    /// <summary>Makes a linear over parameters that hold its values already.</summary>
    /// <param name="name">Such as <c>model.layers.0.mlp.up_proj</c>.</param>
    /// <param name="layer">Gives the shapes and the mask.</param>
    /// <param name="columns">int64 [d_out, kept], the column of each kept value.</param>
    /// <param name="core">[d_out, kept], a leaf.</param>
    /// <param name="output">The blocks of A [d_out/b_A, b_A, b_A], a leaf; null for the identity.</param>
    /// <param name="input">The blocks of B [d_in/b_B, b_B, b_B], a leaf; null for the identity.</param>
    public TrainableLinear(string name, ArmorLayer layer, Tensor columns, Tensor core, Tensor? output, Tensor? input)
    {
        Name = name;
        mask = layer.Core;
        this.columns = columns;
        Core = core;
        Output = output;
        Input = input;
    }

    /// <summary>Such as <c>model.layers.0.mlp.up_proj</c>.</summary>
    public string Name { get; }

    /// <summary>The kept values of S, [d_out, kept].</summary>
    public Tensor Core { get; }

    /// <summary>The blocks of A, or null.</summary>
    public Tensor? Output { get; }

    /// <summary>The blocks of B, or null.</summary>
    public Tensor? Input { get; }

    /// <summary>
    /// y = Ŵ·x with Ŵ multiplied out first: its cost does not grow with the tokens, and there are more of those in a step than rows in a block.
    /// </summary>
    /// <param name="x">[batch, length, d_in].</param>
    /// <returns>[batch, length, d_out], in the caller's dispose scope; works with autograd.</returns>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        return nn.functional.linear(x, Product().to(x.dtype)).MoveToOuterDisposeScope();
    }

    /// <summary>Ŵ = A·S·B, [d_out, d_in], in the caller's dispose scope; works with autograd.</summary>
    public Tensor Product()
    {
        using var scope = NewDisposeScope();
        Tensor core = zeros([mask.Rows, mask.Columns], Core.dtype).scatter(1, columns, Core);
        return BlockDiagonalProduct.Left(Output, BlockDiagonalProduct.Right(core, Input)).MoveToOuterDisposeScope();
    }

    /// <summary>The factors as they are now, to store.</summary>
    public ArmorLayer ToLayer() => new(Wrapper(Output), ToCore(), Wrapper(Input));

    /// <summary>The core as it is now.</summary>
    public SparseCore ToCore() => new(mask.Rows, mask.Columns, Values(Core), mask.Mask.ToArray(), mask.Pattern);

    private static BlockDiagonalMatrix? Wrapper(Tensor? blocks) =>
        blocks is null ? null : new BlockDiagonalMatrix((int)blocks.shape[0], (int)blocks.shape[1], Values(blocks));

    private static float[] Values(Tensor parameter)
    {
        using Tensor plain = parameter.detach();
        return plain.data<float>().ToArray();
    }
}
