using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>
/// Sums the moments of one linear's inputs batch by batch: products in float32, sums in float64, or beyond 4096 inputs in float32 too. Products are
/// made in strips of rows, so that beside the sums themselves little memory is needed, and of the symmetric H only the upper half. Not safe for
/// concurrent use. The sums depend on the order of the batches only by rounding.
/// </summary>
public sealed class ActivationAccumulator : IDisposable
{
    // A float32 product sums over this many tokens at most before it goes to float64: keeps its rounding near 1e-6 relative.
    private const int TokensPerProduct = 2048;

    // Larger matrices are summed in float32: in float64, H and C of 11008 inputs would take 2 GB, and n chunks of tokens round a sum by no more than
    // √n · 6e-8, which is below the rounding of the products themselves for any calibration set of practical size.
    private const int LargestInDouble = 4096;

    private readonly string name;
    private readonly int dimension;
    private readonly Tensor diagonal;
    private readonly Tensor? hessian;
    private readonly Tensor? crossMoment;
    private readonly bool wantsResidual;
    private Tensor? residualMoment;
    private bool disposed;

    /// <summary>Starts with no tokens.</summary>
    /// <param name="name">The linear, for error messages.</param>
    /// <param name="dimension">d_in.</param>
    /// <param name="moments">What to collect besides the diagonal. <see cref="ActivationMoments.CrossMoment"/> brings H along.</param>
    /// <param name="device">Where the sums live; the CPU where null.</param>
    /// <exception cref="ArgumentOutOfRangeException">The dimension is under 1.</exception>
    public ActivationAccumulator(string name, int dimension, ActivationMoments moments, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentOutOfRangeException.ThrowIfLessThan(dimension, 1);
        this.name = name;
        this.dimension = dimension;
        device ??= CPU;
        diagonal = zeros(dimension, float64, device).DetachFromDisposeScope();
        if (moments != ActivationMoments.Diagonal)
        {
            hessian = zeros(dimension, dimension, TypeOfSums(dimension), device).DetachFromDisposeScope();
        }

        if (moments.HasFlag(ActivationMoments.CrossMoment))
        {
            crossMoment = zeros(dimension, dimension, TypeOfSums(dimension), device).DetachFromDisposeScope();
        }

        wantsResidual = moments.HasFlag(ActivationMoments.ResidualMoment);
    }

    /// <summary>The type in which H and C are summed.</summary>
    /// <param name="dimension">d_in.</param>
    internal static ScalarType TypeOfSums(long dimension) => dimension > LargestInDouble ? float32 : float64;

    /// <summary>The tokens added so far.</summary>
    public long TokenCount { get; private set; }

    /// <summary>Adds a batch of inputs.</summary>
    /// <param name="inputs">[tokens, d_in]; leading dimensions are flattened. Padding must be gone already.</param>
    /// <param name="denseInputs">
    /// The dense model's inputs at the same place, same shape: needed for the cross moment, and only then allowed.
    /// </param>
    /// <param name="missing">
    /// r_dense − r_pruned, [tokens, d_out]: needed for the residual moment, and only then allowed.
    /// </param>
    /// <exception cref="ArgumentException">
    /// Another last dimension than d_in, or dense inputs or missing residuals absent, unwanted or of another shape.
    /// </exception>
    /// <exception cref="CalibrationException">An input is NaN or infinite; nothing of the batch is added.</exception>
    public void Add(Tensor inputs, Tensor? denseInputs = null, Tensor? missing = null)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        ObjectDisposedException.ThrowIf(disposed, this);
        if (inputs.dim() < 1 || inputs.shape[^1] != dimension)
        {
            throw new ArgumentException($"{name} takes inputs [tokens, {dimension}]; found [{string.Join(", ", inputs.shape)}].", nameof(inputs));
        }

        if (crossMoment is null != denseInputs is null)
        {
            throw new ArgumentException(
                crossMoment is null ? $"{name} collects no cross moment: no dense inputs expected." : $"{name} collects a cross moment: dense inputs are missing.",
                nameof(denseInputs));
        }

        if (denseInputs is not null && !denseInputs.shape.SequenceEqual(inputs.shape))
        {
            throw new ArgumentException(
                $"{name}: dense inputs [{string.Join(", ", denseInputs.shape)}] differ in shape from inputs [{string.Join(", ", inputs.shape)}].",
                nameof(denseInputs));
        }

        if (wantsResidual != (missing is not null) || (missing is not null && missing.numel() / missing.shape[^1] != inputs.numel() / dimension))
        {
            throw new ArgumentException(
                $"{name} {(wantsResidual ? "collects a residual moment and takes" : "collects no residual moment and takes no")} differences of residuals, "
                + $"one a token; found {(missing is null ? "none" : $"[{string.Join(", ", missing.shape)}]")}.",
                nameof(missing));
        }

        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        Tensor rows = Rows(inputs);
        Tensor? denseRows = denseInputs is null ? null : Rows(denseInputs);
        RequireFinite(rows, "inputs");
        if (denseRows is not null)
        {
            RequireFinite(denseRows, "dense inputs");
        }

        for (long start = 0; start < rows.shape[0]; start += TokensPerProduct)
        {
            using var chunkScope = NewDisposeScope();
            long count = Math.Min(TokensPerProduct, rows.shape[0] - start);
            AddChunk(rows.narrow(0, start, count), denseRows?.narrow(0, start, count));
        }

        if (missing is not null)
        {
            Tensor product = missing.detach().reshape(rows.shape[0], -1).to(float32).t().mm(rows);
            residualMoment ??= zeros_like(product).DetachFromDisposeScope();
            residualMoment.AddInPlace(product);
        }

        TokenCount += rows.shape[0];
    }

    /// <summary>The means so far. The accumulator stays usable.</summary>
    /// <exception cref="CalibrationException">No tokens were added, or the squares of inputs overflow.</exception>
    public ActivationStatistics Build()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        RequireTokens();
        using var scope = NewDisposeScope();
        return Means(diagonal.clone(), hessian?.clone(), crossMoment?.clone(), residualMoment?.clone());
    }

    /// <summary>The means, in the memory of the sums: the accumulator is then of no further use.</summary>
    /// <exception cref="CalibrationException">As of <see cref="Build"/>.</exception>
    internal ActivationStatistics Take()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        RequireTokens();
        using var scope = NewDisposeScope();
        ActivationStatistics means = Means(diagonal.alias(), hessian?.alias(), crossMoment?.alias(), residualMoment?.alias());
        Dispose();
        return means;
    }

    /// <summary>Frees the sums.</summary>
    public void Dispose()
    {
        disposed = true;
        diagonal.Dispose();
        hessian?.Dispose();
        crossMoment?.Dispose();
        residualMoment?.Dispose();
    }

    private void AddChunk(Tensor rows, Tensor? denseRows)
    {
        if (hessian is null)
        {
            diagonal.AddInPlace(rows.Squared().sum(0, type: float64));
            return;
        }

        foreach (long start in Strips())
        {
            using var scope = NewDisposeScope();
            long count = Math.Min(StripRows, dimension - start);
            Tensor strip = rows.narrow(1, start, count).t();
            hessian.narrow(0, start, count).narrow(1, start, dimension - start).AddInPlace(strip.mm(rows.narrow(1, start, dimension - start)));
            if (denseRows is not null)
            {
                crossMoment!.narrow(0, start, count).AddInPlace(denseRows.narrow(1, start, count).t().mm(rows));
            }
        }
    }

    // Turns sums into means where they are.
    private ActivationStatistics Means(Tensor sum, Tensor? hessianSum, Tensor? crossSum, Tensor? residualSum)
    {
        using var noGradients = no_grad();
        if (hessianSum is not null)
        {
            Mirror(hessianSum);
            hessianSum.TimesInPlace(1.0 / TokenCount);
            sum = hessianSum.diagonal().to(float64, copy: true);
        }
        else
        {
            sum.TimesInPlace(1.0 / TokenCount);
        }

        if (!sum.isfinite().all().item<bool>())
        {
            throw new CalibrationException($"{name}: inputs are too large, their squares overflow float32.");
        }

        return ActivationStatistics.Own(
            sum, hessianSum, crossSum?.TimesInPlace(1.0 / TokenCount), residualSum?.TimesInPlace(1.0 / TokenCount), TokenCount);
    }

    // The lower half becomes the mirror of the upper; within a strip's own square, where the product has made both, their mean.
    private void Mirror(Tensor sum)
    {
        foreach (long start in Strips())
        {
            using var scope = NewDisposeScope();
            long count = Math.Min(StripRows, dimension - start);
            Tensor strip = sum.narrow(0, start, count);
            Tensor square = strip.narrow(1, start, count);
            square.copy_(square.Plus(square.t()).TimesInPlace(0.5));
            long rest = dimension - start - count;
            if (rest > 0)
            {
                sum.narrow(0, start + count, rest).narrow(1, start, count).copy_(strip.narrow(1, start + count, rest).t());
            }
        }
    }

    // Narrow enough that half of H need not be computed, wide enough for the matrix product.
    private long StripRows => Math.Min(dimension, Math.Clamp(dimension / 8, 256, 1024));

    private IEnumerable<long> Strips()
    {
        for (long start = 0; start < dimension; start += StripRows)
        {
            yield return start;
        }
    }

    private void RequireTokens()
    {
        if (TokenCount == 0)
        {
            throw new CalibrationException($"{name}: no calibration tokens reached it.");
        }
    }

    private Tensor Rows(Tensor inputs) => inputs.detach().reshape(-1, dimension).to(float32);

    private void RequireFinite(Tensor rows, string what)
    {
        long bad = 0;
        for (long start = 0; start < rows.shape[0]; start += TokensPerProduct)
        {
            using var scope = NewDisposeScope();
            Tensor finite = rows.narrow(0, start, Math.Min(TokensPerProduct, rows.shape[0] - start)).isfinite();
            bad += finite.all().item<bool>() ? 0 : finite.logical_not().sum().item<long>();
        }

        if (bad > 0)
        {
            throw new CalibrationException($"{name}: {what} must be finite; found {bad} NaN or infinite of {rows.numel()} after {TokenCount} tokens.");
        }
    }
}
