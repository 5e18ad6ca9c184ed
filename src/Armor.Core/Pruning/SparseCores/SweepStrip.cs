namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// One strip of columns in an exact sweep: raw pointers into contiguous float32 memory. With Q = B·H·Bᵀ of the strip, P_i = A_iᵀA_i,
/// the residual product of row block i is R_i − P_i·T_i with T = S·Q.
/// </summary>
internal unsafe struct SweepStrip
{
    /// <summary>Columns of the strip, a multiple of four.</summary>
    public int Width;

    /// <summary>Q [width, width].</summary>
    public float* Q;

    /// <summary>Aᵀ·W·H·Bᵀ of the strip [d_out, width].</summary>
    public float* R;

    /// <summary>S·Q [d_out, width], kept up to date.</summary>
    public float* T;

    /// <summary>S of the strip: row r begins at S + r·StrideS. Updated.</summary>
    public float* S;

    /// <summary>Floats from row to row of S.</summary>
    public long StrideS;

    /// <summary>Inverses of the 2×2 systems, see <see cref="MaskPairs.Prepare"/>.</summary>
    public float* Coefficients;
}
