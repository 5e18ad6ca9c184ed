using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>
/// Sums the moments of one linear's inputs batch by batch: products in float32, sums in float64. Not safe for concurrent use. The sums
/// depend on the order of the batches only by rounding.
/// </summary>
public sealed class ActivationAccumulator : IDisposable
{
    // A float32 product sums over this many tokens at most before it goes to float64: keeps its rounding near 1e-6 relative.
    private const int TokensPerProduct = 2048;

    private readonly string name;
    private readonly int dimension;
    private readonly Tensor diagonal;
    private readonly Tensor? hessian;
    private readonly Tensor? crossMoment;
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
            hessian = zeros(dimension, dimension, float64, device).DetachFromDisposeScope();
        }

        if (moments.HasFlag(ActivationMoments.CrossMoment))
        {
            crossMoment = zeros(dimension, dimension, float64, device).DetachFromDisposeScope();
        }
    }

    /// <summary>The tokens added so far.</summary>
    public long TokenCount { get; private set; }

    /// <summary>Adds a batch of inputs.</summary>
    /// <param name="inputs">[tokens, d_in]; leading dimensions are flattened. Padding must be gone already.</param>
    /// <param name="denseInputs">
    /// The dense model's inputs at the same place, same shape: needed for the cross moment, and only then allowed.
    /// </param>
    /// <exception cref="ArgumentException">Another last dimension than d_in, or dense inputs missing, unwanted or of another shape.</exception>
    /// <exception cref="CalibrationException">An input is NaN or infinite; nothing of the batch is added.</exception>
    public void Add(Tensor inputs, Tensor? denseInputs = null)
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

        TokenCount += rows.shape[0];
    }

    /// <summary>The means so far. The accumulator stays usable.</summary>
    /// <exception cref="CalibrationException">No tokens were added, or the squares of inputs overflow.</exception>
    public ActivationStatistics Build()
    {
        ObjectDisposedException.ThrowIf(disposed, this);
        if (TokenCount == 0)
        {
            throw new CalibrationException($"{name}: no calibration tokens reached it.");
        }

        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        Tensor? meanHessian = hessian?.Over(TokenCount);
        Tensor meanDiagonal = meanHessian is null ? diagonal.Over(TokenCount) : meanHessian.diagonal().clone();
        if (!meanDiagonal.isfinite().all().item<bool>())
        {
            throw new CalibrationException($"{name}: inputs are too large, their squares overflow float32.");
        }

        return ActivationStatistics.Own(meanDiagonal, meanHessian, crossMoment?.Over(TokenCount), TokenCount);
    }

    /// <summary>Frees the sums.</summary>
    public void Dispose()
    {
        disposed = true;
        diagonal.Dispose();
        hessian?.Dispose();
        crossMoment?.Dispose();
    }

    private void AddChunk(Tensor rows, Tensor? denseRows)
    {
        if (hessian is null)
        {
            diagonal.AddInPlace(rows.Squared().sum(0, type: float64));
            return;
        }

        // One triangle of a float32 product need not be the other's mirror to the last bit; H must be symmetric.
        Tensor product = rows.t().mm(rows);
        hessian.AddInPlace(product.Plus(product.t()).TimesInPlace(0.5));
        if (denseRows is not null)
        {
            crossMoment!.AddInPlace(denseRows.t().mm(rows));
        }
    }

    private Tensor Rows(Tensor inputs) => inputs.detach().reshape(-1, dimension).to(float32);

    private void RequireFinite(Tensor rows, string what)
    {
        using var scope = NewDisposeScope();
        Tensor finite = rows.isfinite();
        if (!finite.all().item<bool>())
        {
            long bad = finite.logical_not().sum().item<long>();
            throw new CalibrationException($"{name}: {what} must be finite; found {bad} NaN or infinite of {rows.numel()} after {TokenCount} tokens.");
        }
    }
}
