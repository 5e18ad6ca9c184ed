namespace Armor.Core.Calibration;

/// <summary>The moments of a linear's inputs that calibration is asked for. The diagonal always comes along.</summary>
[Flags]
public enum ActivationMoments
{
    /// <summary>h = mean of x², one number an input column: all that the diagonal loss needs.</summary>
    Diagonal = 0,

    /// <summary>H = mean of x·xᵀ, [d_in, d_in].</summary>
    Hessian = 1,

    /// <summary>C = mean of x_dense·x_prunedᵀ, [d_in, d_in]: what the dense model would have fed against what the pruned model feeds.</summary>
    CrossMoment = 2,

    /// <summary>
    /// D = mean of (r_dense − r_pruned)·xᵀ, [hidden, d_in], r the residual stream that a linear's output is added to: what is missing there already.
    /// Only for linears that write to the stream.
    /// </summary>
    ResidualMoment = 4,
}
