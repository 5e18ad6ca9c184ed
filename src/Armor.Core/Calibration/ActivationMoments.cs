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
}
