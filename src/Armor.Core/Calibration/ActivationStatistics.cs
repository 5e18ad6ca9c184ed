using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration;

/// <summary>
/// Second moments of the inputs x of one linear over the calibration tokens: h = mean x² and, where collected, H = mean x·xᵀ and
/// C = mean x_dense·x_prunedᵀ. Means, not sums, so that losses of runs with different numbers of tokens compare. Immutable; owns its tensors.
/// </summary>
public sealed class ActivationStatistics : IDisposable
{
    private ActivationStatistics(Tensor diagonal, Tensor? hessian, Tensor? crossMoment, Tensor? residualMoment, long tokenCount)
    {
        Diagonal = diagonal.DetachFromDisposeScope();
        Hessian = hessian?.DetachFromDisposeScope();
        CrossMoment = crossMoment?.DetachFromDisposeScope();
        ResidualMoment = residualMoment?.DetachFromDisposeScope();
        TokenCount = tokenCount;
    }

    /// <summary>The linear's number of inputs, d_in.</summary>
    public int Dimension => checked((int)Diagonal.shape[0]);

    /// <summary>How many tokens the means run over.</summary>
    public long TokenCount { get; }

    /// <summary>h, float64 [d_in]: the mean of x². Equal to the diagonal of <see cref="Hessian"/> where that exists. Do not dispose.</summary>
    public Tensor Diagonal { get; }

    /// <summary>
    /// H [d_in, d_in], float64, or float32 where calibration collected it for more than 4096 inputs: the mean of x·xᵀ, symmetric; null where only the
    /// diagonal was collected. Do not dispose.
    /// </summary>
    public Tensor? Hessian { get; }

    /// <summary>
    /// C [d_in, d_in], of H's type: the mean of x_dense·x_prunedᵀ, rows by the dense model's input, columns by the pruned model's; null where
    /// not collected. Do not dispose.
    /// </summary>
    public Tensor? CrossMoment { get; private set; }

    /// <summary>Whether nobody reads these statistics after the pruner that has them now, so that it may free what it has used.</summary>
    internal bool IsLastUse { get; set; }

    /// <summary>
    /// D, float32 [d_out, d_in]: the mean of (r_dense − r_pruned)·xᵀ, r the residual stream that the linear's output is added to; null where not
    /// collected. Do not dispose.
    /// </summary>
    public Tensor? ResidualMoment { get; }

    /// <summary>What the report should say of how they were collected; as a rule nothing.</summary>
    internal IReadOnlyList<string> Notes { get; private init; } = [];

    /// <summary>Statistics of a diagonal that the caller has measured.</summary>
    /// <param name="diagonal">[d_in], any floating type: the mean of x². Copied.</param>
    /// <param name="tokenCount">How many tokens the mean runs over.</param>
    /// <exception cref="ArgumentException">Not a vector, a negative or non-finite entry, or a token count under 1.</exception>
    public static ActivationStatistics FromDiagonal(Tensor diagonal, long tokenCount)
    {
        ArgumentNullException.ThrowIfNull(diagonal);
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        RequireTokens(tokenCount);
        RequireVector(diagonal, nameof(diagonal));
        Tensor copy = Copy(diagonal);
        RequireNonNegative(copy, nameof(diagonal));
        return new ActivationStatistics(copy, null, null, null, tokenCount);
    }

    /// <summary>Statistics of a diagonal that the caller has measured.</summary>
    /// <param name="diagonal">[d_in]: the mean of x².</param>
    /// <param name="tokenCount">How many tokens the mean runs over.</param>
    /// <exception cref="ArgumentException">Empty, a negative or non-finite entry, or a token count under 1.</exception>
    public static ActivationStatistics FromDiagonal(ReadOnlySpan<double> diagonal, long tokenCount)
    {
        using var scope = NewDisposeScope();
        return FromDiagonal(tensor(diagonal.ToArray(), float64), tokenCount);
    }

    /// <summary>Statistics of second moments that the caller has measured.</summary>
    /// <param name="hessian">[d_in, d_in], any floating type: the mean of x·xᵀ. Copied, its two halves averaged.</param>
    /// <param name="tokenCount">How many tokens the mean runs over.</param>
    /// <param name="crossMoment">[d_in, d_in]: the mean of x_dense·x_prunedᵀ, or null. Copied.</param>
    /// <param name="residualMoment">[d_out, d_in]: the mean of (r_dense − r_pruned)·xᵀ, or null. Copied.</param>
    /// <exception cref="ArgumentException">
    /// Not a square matrix, clearly asymmetric, a negative diagonal or non-finite entry, a cross or residual moment of another shape, or a token count
    /// under 1.
    /// </exception>
    public static ActivationStatistics FromHessian(Tensor hessian, long tokenCount, Tensor? crossMoment = null, Tensor? residualMoment = null)
    {
        ArgumentNullException.ThrowIfNull(hessian);
        using var scope = NewDisposeScope();
        using var noGradients = no_grad();
        RequireTokens(tokenCount);
        if (hessian.dim() != 2 || hessian.shape[0] != hessian.shape[1] || hessian.shape[0] == 0)
        {
            throw new ArgumentException($"A Hessian is a square matrix [d_in, d_in]; found [{string.Join(", ", hessian.shape)}].", nameof(hessian));
        }

        Tensor copy = Copy(hessian);
        RequireFinite(copy, nameof(hessian));
        double scale = copy.abs().max().item<double>();
        double asymmetry = (copy - copy.t()).abs().max().item<double>();
        if (asymmetry > 1e-3 * scale)
        {
            throw new ArgumentException($"A Hessian is symmetric; H and its transpose differ by {asymmetry:g3}, its largest entry is {scale:g3}.", nameof(hessian));
        }

        copy = copy.Plus(copy.t()).Times(0.5);
        Tensor diagonal = copy.diagonal().clone();
        RequireNonNegative(diagonal, nameof(hessian));
        Tensor? cross = null;
        if (crossMoment is not null)
        {
            if (!crossMoment.shape.SequenceEqual(hessian.shape))
            {
                throw new ArgumentException(
                    $"A cross moment has its Hessian's shape [{string.Join(", ", hessian.shape)}]; found [{string.Join(", ", crossMoment.shape)}].",
                    nameof(crossMoment));
            }

            cross = Copy(crossMoment);
            RequireFinite(cross, nameof(crossMoment));
        }

        Tensor? residual = null;
        if (residualMoment is not null)
        {
            if (residualMoment.dim() != 2 || residualMoment.shape[1] != hessian.shape[0])
            {
                throw new ArgumentException(
                    $"A residual moment is a matrix [d_out, {hessian.shape[0]}]; found [{string.Join(", ", residualMoment.shape)}].", nameof(residualMoment));
            }

            residual = residualMoment.detach().to(float32, copy: true).contiguous();
            RequireFinite(residual, nameof(residualMoment));
        }

        return new ActivationStatistics(diagonal, copy, cross, residual, tokenCount);
    }

    /// <summary>Statistics of inputs that are all at hand; <see cref="ActivationAccumulator"/> takes them batch by batch.</summary>
    /// <param name="inputs">[tokens, d_in] (leading dimensions are flattened).</param>
    /// <exception cref="ArgumentException">No tokens.</exception>
    /// <exception cref="CalibrationException">An input is NaN or infinite.</exception>
    public static ActivationStatistics FromInputs(Tensor inputs)
    {
        ArgumentNullException.ThrowIfNull(inputs);
        if (inputs.dim() < 1 || inputs.numel() == 0)
        {
            throw new ArgumentException($"Inputs are [tokens, d_in] with at least one token; found [{string.Join(", ", inputs.shape)}].", nameof(inputs));
        }

        using var accumulator = new ActivationAccumulator("inputs", checked((int)inputs.shape[^1]), ActivationMoments.Hessian, inputs.device);
        accumulator.Add(inputs);
        return accumulator.Build();
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        Diagonal.Dispose();
        Hessian?.Dispose();
        CrossMoment?.Dispose();
        ResidualMoment?.Dispose();
    }

    /// <summary>Frees the cross moment, on the last use: it is as large as the Hessian, and needed for the target only.</summary>
    internal void ReleaseCrossMoment()
    {
        if (IsLastUse)
        {
            CrossMoment?.Dispose();
            CrossMoment = null;
        }
    }

    /// <summary>factor·own + otherFactor·other, in the memory of the first, which must not be used or disposed of any more.</summary>
    /// <param name="own">Taken over.</param>
    /// <param name="factor">Of the first.</param>
    /// <param name="other">Null for zero; of the same moments.</param>
    /// <param name="otherFactor">Of the second.</param>
    /// <param name="tokenCount">How many tokens stand behind the sum.</param>
    /// <param name="notes">For the report.</param>
    internal static ActivationStatistics Combine(
        ActivationStatistics own, double factor, ActivationStatistics? other, double otherFactor, long tokenCount, IReadOnlyList<string> notes)
    {
        Add(own.Diagonal, other?.Diagonal);
        Add(own.Hessian, other?.Hessian);
        Add(own.CrossMoment, other?.CrossMoment);
        return new ActivationStatistics(own.Diagonal, own.Hessian, own.CrossMoment, null, tokenCount) { Notes = notes };

        void Add(Tensor? sum, Tensor? addend)
        {
            sum?.TimesInPlace(factor);
            if (addend is not null)
            {
                sum?.AddInPlace(addend, otherFactor);
            }
        }
    }

    /// <summary>A copy of its own, with notes.</summary>
    internal ActivationStatistics Clone(long tokenCount, IReadOnlyList<string> notes) =>
        new(Diagonal.clone(), Hessian?.clone(), CrossMoment?.clone(), ResidualMoment?.clone(), tokenCount) { Notes = notes };

    /// <summary>Takes the tensors over, unchecked: for the accumulator.</summary>
    internal static ActivationStatistics Own(
        Tensor diagonal, Tensor? hessian, Tensor? crossMoment, Tensor? residualMoment, long tokenCount) =>
        new(diagonal, hessian, crossMoment, residualMoment, tokenCount);

    private static Tensor Copy(Tensor source) => source.detach().to(float64, copy: true).contiguous();

    private static void RequireTokens(long tokenCount)
    {
        if (tokenCount < 1)
        {
            throw new ArgumentException($"Statistics run over at least one token; found {tokenCount}.", nameof(tokenCount));
        }
    }

    private static void RequireVector(Tensor diagonal, string parameter)
    {
        if (diagonal.dim() != 1 || diagonal.shape[0] == 0)
        {
            throw new ArgumentException($"A diagonal is a vector [d_in]; found [{string.Join(", ", diagonal.shape)}].", parameter);
        }
    }

    private static void RequireFinite(Tensor values, string parameter)
    {
        if (!values.isfinite().all().item<bool>())
        {
            throw new ArgumentException("Statistics must be finite; found NaN or infinity.", parameter);
        }
    }

    private static void RequireNonNegative(Tensor diagonal, string parameter)
    {
        RequireFinite(diagonal, parameter);
        if (diagonal.Negative().any().item<bool>())
        {
            throw new ArgumentException($"A mean of squares is not negative; found {diagonal.min().item<double>():g6}.", parameter);
        }
    }
}
