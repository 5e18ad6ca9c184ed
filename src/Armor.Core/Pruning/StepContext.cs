using Armor.Core.Pruning.Losses;
using Armor.Runtime.Factorization;
using TorchSharp;

namespace Armor.Core.Pruning;

/// <summary>What a single step of a wrapper optimiser or core selector works towards, and by which means.</summary>
public sealed class StepContext
{
    /// <summary>Makes the context of one step.</summary>
    /// <param name="target">W [d_out, d_in], float32: the matrix that A·S·B is to come near to.</param>
    /// <param name="loss">How its error is measured.</param>
    public StepContext(torch.Tensor target, IProxyLoss loss)
    {
        Target = target ?? throw new ArgumentNullException(nameof(target));
        Loss = loss ?? throw new ArgumentNullException(nameof(loss));
    }

    /// <summary>W [d_out, d_in], float32.</summary>
    public torch.Tensor Target { get; }

    /// <summary>How the error W − A·S·B is measured.</summary>
    public IProxyLoss Loss { get; }

    /// <summary>The pattern that the core has and keeps; 2:4 by default.</summary>
    public SparsityPattern Pattern { get; init; }

    /// <summary>The step's number within its weight, from 0.</summary>
    public int Step { get; init; }

    /// <summary>The seed for this step's random choices, different for each step and tensor.</summary>
    public ulong Seed { get; init; }

    /// <summary>How much the choice of masks is disturbed in this step.</summary>
    public AnnealingNoise Noise { get; init; }

    /// <summary>The most threads that the step's own loops use; results do not depend on it.</summary>
    public int MaxDegreeOfParallelism { get; init; } = Environment.ProcessorCount;

    /// <summary>Stops the step between blocks.</summary>
    public CancellationToken CancellationToken { get; init; }

    /// <summary>The same step with other random choices.</summary>
    internal StepContext WithSeed(ulong seed) => new(Target, Loss)
    {
        Pattern = Pattern,
        Step = Step,
        Seed = seed,
        Noise = Noise,
        MaxDegreeOfParallelism = MaxDegreeOfParallelism,
        CancellationToken = CancellationToken,
    };
}

/// <summary>
/// Bounded noise on the gain of a mask: gain − u·min(Relative·gain, Bound/P_rr), u uniform in [0, 1), P_rr the squared norm of the row's column
/// of A. The bound keeps outlier columns in.
/// </summary>
/// <param name="Relative">τ, a share of the gain; 0: no noise.</param>
/// <param name="Bound">The most that is taken from a gain, in units of the loss.</param>
public readonly record struct AnnealingNoise(float Relative, float Bound);
