using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning;

/// <summary>
/// The normalisation of NoWag (arXiv 2510.05528, Sec. 3.1): W̄ = W / (r₁ r₂), r₁ the norms of the columns, then r₂ the norms of the rows of
/// what is left. Norms of zero count as one.
/// </summary>
/// <param name="Weight">W̄ [d_out, d_in].</param>
/// <param name="Columns">r₁ [d_in].</param>
/// <param name="Rows">r₂ [d_out].</param>
internal readonly record struct WeightNormalization(Tensor Weight, Tensor Columns, Tensor Rows)
{
    // Rows that are in float64 at once.
    private const long StripRows = 1024;

    /// <summary>Normalises a weight; the tensors belong to the caller's dispose scope.</summary>
    public static WeightNormalization Of(Tensor weight)
    {
        using var scope = NewDisposeScope();
        Tensor columns = Norms(weight, 0);
        Tensor scaled = weight / columns;
        Tensor rows = Norms(scaled, 1);
        return new((scaled / rows.unsqueeze(1)).MoveToOuterDisposeScope(), columns.MoveToOuterDisposeScope(), rows.MoveToOuterDisposeScope());
    }

    private static Tensor Norms(Tensor weight, int dimension)
    {
        using var scope = NewDisposeScope();
        Tensor squares = zeros(weight.shape[1 - dimension], float64, weight.device);
        for (long first = 0; first < weight.shape[0]; first += StripRows)
        {
            using var stripScope = NewDisposeScope();
            long count = Math.Min(StripRows, weight.shape[0] - first);
            Tensor own = weight.narrow(0, first, count).to(float64).Squared().sum(dimension);
            (dimension == 0 ? squares : squares.narrow(0, first, count)).AddInPlace(own);
        }

        Tensor norms = squares.sqrt().to(float32);
        return where(norms.Positive(), norms, ones_like(norms)).MoveToOuterDisposeScope();
    }
}
