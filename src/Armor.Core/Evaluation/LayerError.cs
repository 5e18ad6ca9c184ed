using Armor.Core.Calibration;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Evaluation;

/// <summary>How far a pruned linear's outputs are from the original's on the calibration inputs.</summary>
public static class LayerError
{
    /// <summary>
    /// ‖(W − Ŵ)·X‖_F / ‖W·X‖_F, from the inputs' second moment H = mean x·xᵀ: √(tr(Δ·H·Δᵀ) / tr(W·H·Wᵀ)). Where only the diagonal of H was
    /// collected, inputs count as uncorrelated. In float64.
    /// </summary>
    /// <param name="weight">W, [d_out, d_in].</param>
    /// <param name="pruned">Ŵ, [d_out, d_in].</param>
    /// <param name="statistics">Of the linear's inputs, dimension d_in.</param>
    /// <returns>0 for an exact Ŵ, 1 for Ŵ = 0; 0 where W·X is zero and Ŵ·X too.</returns>
    /// <exception cref="ArgumentException">The shapes do not fit each other.</exception>
    public static double Relative(Tensor weight, Tensor pruned, ActivationStatistics statistics)
    {
        ArgumentNullException.ThrowIfNull(weight);
        ArgumentNullException.ThrowIfNull(pruned);
        ArgumentNullException.ThrowIfNull(statistics);
        if (weight.dim() != 2 || !weight.shape.SequenceEqual(pruned.shape) || weight.shape[1] != statistics.Dimension)
        {
            throw new ArgumentException(
                $"Expected two weights of one shape [d_out, {statistics.Dimension}]; found [{string.Join(", ", weight.shape)}] and [{string.Join(", ", pruned.shape)}].");
        }

        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        Tensor original = weight.to(float64);
        double error = Energy(original - pruned.to(float64), statistics);
        double energy = Energy(original, statistics);
        return error == 0 ? 0 : Math.Sqrt(error / energy);
    }

    /// <summary>tr(M·H·Mᵀ), at least 0.</summary>
    private static double Energy(Tensor matrix, ActivationStatistics statistics)
    {
        Tensor product = statistics.Hessian is { } hessian
            ? matrix.matmul(hessian.to(matrix.dtype, matrix.device))
            : matrix * statistics.Diagonal.to(matrix.device);
        return Math.Max(0, (product * matrix).sum().item<double>());
    }
}
