using TorchSharp;

namespace Armor.Core.Pruning.Losses;

/// <summary>
/// The quadratic that stands for a layer's output error: L(E) = tr(E·H·Eᵀ) with E = W − A·S·B [d_out, d_in] and a positive semi-definite
/// H [d_in, d_in] (arXiv 2510.05528, Sec. 3). Wrapper optimisers and core selectors need no more of a loss than these members.
/// </summary>
/// <remarks>Returned tensors belong to the caller's dispose scope. An implementation must not change its arguments.</remarks>
public interface IProxyLoss
{
    /// <summary>The loss of an error, summed in float64.</summary>
    /// <param name="error">E [d_out, d_in], float32.</param>
    /// <returns>tr(E·H·Eᵀ), not below zero.</returns>
    double Value(torch.Tensor error);

    /// <summary>Columns of the product error × Hessian.</summary>
    /// <param name="error">E [rows, d_in], float32.</param>
    /// <param name="firstColumn">The first column wanted.</param>
    /// <param name="columnCount">The number of columns wanted.</param>
    /// <returns>(E·H)[:, firstColumn .. firstColumn + columnCount), [rows, columnCount], float32.</returns>
    torch.Tensor MultiplyHessian(torch.Tensor error, long firstColumn, long columnCount);

    /// <summary>A square block on the Hessian's diagonal.</summary>
    /// <param name="firstColumn">The block's first row and column.</param>
    /// <param name="size">The block's size.</param>
    /// <returns>H[firstColumn .. +size, firstColumn .. +size], [size, size], float32.</returns>
    torch.Tensor HessianBlock(long firstColumn, long size);

    /// <summary>Whether H has entries outside its diagonal blocks of this size; where it has none, all block columns are solved at once.</summary>
    /// <param name="blockSize">The size of the diagonal blocks, a divisor of d_in.</param>
    /// <returns><see langword="true"/> where columns of different blocks influence each other.</returns>
    bool CouplesBlocks(long blockSize);
}
