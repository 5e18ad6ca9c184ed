using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// Adam without weight decay (arXiv 1412.6980; AdamW, arXiv 1711.05101, with a decay of zero: the start is what the weights should stay near, not the
/// origin). Rates are relative: each factor moves by the rate times the root mean square of its values at the start.
/// </summary>
internal sealed class AdamW : IDisposable
{
    private const double Beta1 = 0.9;
    private const double Beta2 = 0.99;
    private const double Epsilon = 1e-10;

    private readonly TrainableFactors factors;
    private readonly double[] scales;

    /// <summary>Starts with zero moments; the scales are those of the factors' present values.</summary>
    /// <param name="factors">What is optimised.</param>
    /// <param name="wrapperRate">The rate of A and B beside that of the core.</param>
    public AdamW(TrainableFactors factors, double wrapperRate)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        this.factors = factors;
        First = zeros_like(factors.Values).DetachFromDisposeScope();
        Second = zeros_like(factors.Values).DetachFromDisposeScope();
        scales = [.. factors.Slices.Select(slice =>
            factors.Values.narrow(0, slice.Start, slice.Length).Squared().mean().sqrt().item<float>()
                * (slice.Kind == FactorKind.Core ? 1 : wrapperRate))];
    }

    /// <summary>Mean gradients.</summary>
    public Tensor First { get; }

    /// <summary>Mean squares of gradients.</summary>
    public Tensor Second { get; }

    /// <summary>Steps since the moments were zero.</summary>
    public int Steps { get; set; }

    /// <summary>Moves the parameters and clears the gradients.</summary>
    /// <param name="rate">The step's rate.</param>
    /// <param name="maximumGradient">Longer gradients are cut to this length.</param>
    /// <returns>The length of the gradient; where it is not finite, the parameters stay.</returns>
    public double Step(double rate, double maximumGradient)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        Tensor gradients = factors.Gradients;
        double length = gradients.norm().item<float>();
        if (double.IsFinite(length))
        {
            Steps++;
            if (length > maximumGradient)
            {
                gradients.TimesInPlace(maximumGradient / length);
            }

            First.TimesInPlace(Beta1).AddInPlace(gradients, 1 - Beta1);
            Second.TimesInPlace(Beta2).AddProductInPlace(gradients, gradients, 1 - Beta2);
            Tensor direction = First / Second.Over(1 - Math.Pow(Beta2, Steps)).sqrt_().Plus(Epsilon);
            double unbiased = rate / (1 - Math.Pow(Beta1, Steps));
            for (int i = 0; i < scales.Length; i++)
            {
                FactorSlice slice = factors.Slices[i];
                using Tensor values = factors.Values.narrow(0, slice.Start, slice.Length);
                using Tensor move = direction.narrow(0, slice.Start, slice.Length);
                values.AddInPlace(move, -unbiased * scales[i]);
            }
        }

        gradients.zero_();
        return length;
    }

    /// <summary>Forgets the moments.</summary>
    public void Restart()
    {
        using var withoutGradients = no_grad();
        First.zero_();
        Second.zero_();
        Steps = 0;
    }

    /// <summary>Frees the moments.</summary>
    public void Dispose()
    {
        First.Dispose();
        Second.Dispose();
    }
}
