using System.Numerics;
using System.Runtime.InteropServices;
using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>
/// One pass of Gauss–Seidel over the blocks of B within a strip, on small matrices only: with U = A·S and F = E·H of the strip,
/// ΔB_j = (U_jᵀU_j)⁻¹ [U_jᵀF_j − Σ_{k&lt;j} U_jᵀU_k·ΔB_k·H_kj] H_jj⁻¹. The products over d_out are made once for the whole strip.
/// </summary>
/// <remarks>All arrays are row-major. A strip has many blocks only where they are small, so plain loops over rows do.</remarks>
internal static class BlockGaussSeidel
{
    /// <summary>Finds the changes of all blocks, all tensors float64; gram's diagonal blocks are inverted with a small ridge.</summary>
    /// <param name="gram">UᵀU [count·size, count·size].</param>
    /// <param name="right">U_jᵀF_j [count, size, size]; used up.</param>
    /// <param name="hessian">H of the strip [count·size, count·size].</param>
    /// <param name="hessianInverses">H_jj⁻¹ [count, size, size].</param>
    /// <returns>The changes [count, size, size], float32, and what they add to the loss.</returns>
    public static (Tensor Changes, double Loss) Solve(Tensor gram, Tensor right, Tensor hessian, Tensor hessianInverses)
    {
        using var scope = NewDisposeScope();
        (long count, long size) = (right.shape[0], right.shape[1]);
        Tensor own = stack([.. Enumerable.Range(0, (int)count).Select(block => gram.narrow(0, block * size, size).narrow(1, block * size, size))]);
        double[] changes = new double[count * size * size];
        double added = Solve(
            (int)count, (int)size, Values(gram), Values(right), Values(hessian), Values(ProximalSolve.Inverse(own)), Values(hessianInverses), changes);
        return (tensor(changes).view(count, size, size).to(float32).to(gram.device).MoveToOuterDisposeScope(), added);
    }

    /// <summary>Finds the changes of all blocks; a block whose change is not finite stays as it is (zero).</summary>
    /// <param name="count">Blocks in the strip.</param>
    /// <param name="size">b_B.</param>
    /// <param name="gram">UᵀU [count·size, count·size].</param>
    /// <param name="right">U_jᵀF_j [count, size, size]; used up.</param>
    /// <param name="hessian">H of the strip [count·size, count·size].</param>
    /// <param name="gramInverses">(U_jᵀU_j + εI)⁻¹ [count, size, size].</param>
    /// <param name="hessianInverses">H_jj⁻¹ [count, size, size].</param>
    /// <param name="changes">The result [count, size, size].</param>
    /// <returns>What the changes add to the loss: never above zero but for rounding.</returns>
    public static double Solve(
        int count,
        int size,
        ReadOnlySpan<double> gram,
        Span<double> right,
        ReadOnlySpan<double> hessian,
        ReadOnlySpan<double> gramInverses,
        ReadOnlySpan<double> hessianInverses,
        Span<double> changes)
    {
        int width = count * size;
        int area = size * size;
        double loss = 0;
        double[] product = new double[area];
        double[] gradient = new double[area];
        for (int j = 0; j < count; j++)
        {
            Span<double> own = right.Slice(j * area, area);
            Span<double> change = changes.Slice(j * area, area);
            Multiply(gramInverses[(j * area)..], size, own, size, product, size, 1, false);
            Multiply(product, size, hessianInverses[(j * area)..], size, change, size, 1, false);
            if (!AllFinite(change))
            {
                change.Clear();
                continue;
            }

            // ‖E − U·Δ‖² − ‖E‖² under H: ⟨Δ, U_jᵀU_j·Δ·H_jj − 2·U_jᵀF_j⟩
            int diagonal = (j * size * width) + (j * size);
            Multiply(gram[diagonal..], width, change, size, product, size, 1, false);
            Multiply(product, size, hessian[diagonal..], width, gradient, size, 1, false);
            for (int i = 0; i < area; i++)
            {
                loss += change[i] * (gradient[i] - (2 * own[i]));
            }

            for (int later = j + 1; later < count; later++)
            {
                Multiply(gram[((later * size * width) + (j * size))..], width, change, size, product, size, 1, false);
                Multiply(product, size, hessian[((j * size * width) + (later * size))..], width, right.Slice(later * area, area), size, -1, true);
            }
        }

        return loss;
    }

    private static bool AllFinite(ReadOnlySpan<double> values)
    {
        foreach (double value in values)
        {
            if (!double.IsFinite(value))
            {
                return false;
            }
        }

        return true;
    }

    // c (+)= scale·a·b, all [size, size] with the given strides.
    // The memory of a float64 tensor, brought to the CPU if need be; valid within the caller's dispose scope.
    private static unsafe Span<double> Values(Tensor tensor) => new(CoreSystems.Pointer(tensor.cpu().contiguous()), checked((int)tensor.numel()));

    private static void Multiply(
        ReadOnlySpan<double> a, int strideA, ReadOnlySpan<double> b, int strideB, Span<double> c, int size, double scale, bool add)
    {
        int whole = size - (size % Vector<double>.Count);
        for (int i = 0; i < size; i++)
        {
            Span<double> line = c.Slice(i * size, size);
            if (!add)
            {
                line.Clear();
            }

            Span<Vector<double>> sums = MemoryMarshal.Cast<double, Vector<double>>(line[..whole]);
            for (int k = 0; k < size; k++)
            {
                double factor = scale * a[(i * strideA) + k];
                ReadOnlySpan<double> row = b.Slice(k * strideB, size);
                ReadOnlySpan<Vector<double>> terms = MemoryMarshal.Cast<double, Vector<double>>(row[..whole]);
                var factors = new Vector<double>(factor);
                for (int x = 0; x < sums.Length; x++)
                {
                    sums[x] += factors * terms[x];
                }

                for (int x = whole; x < size; x++)
                {
                    line[x] += factor * row[x];
                }
            }
        }
    }
}
