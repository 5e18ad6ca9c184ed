using System.Globalization;
using Armor.Core.Calibration;
using Armor.Core.Calibration.Gradients;
using TorchSharp;

namespace Armor.Core.Pruning;

/// <summary>One weight on its way through the pruner.</summary>
/// <param name="Weight">W [d_out, d_in], float32.</param>
/// <param name="Statistics">Of its inputs.</param>
/// <param name="Gradients">At its outputs, where the stages take them into account.</param>
/// <param name="Name">The tensor's name.</param>
/// <param name="Notes">Gets a sentence for each oddity.</param>
/// <param name="Progress">Told after every cycle.</param>
/// <param name="CancellationToken">Stops between cycles and within long steps.</param>
internal sealed record WeightRun(
    torch.Tensor Weight,
    ActivationStatistics Statistics,
    GradientStatistics? Gradients,
    string Name,
    List<string> Notes,
    IProgress<PruningProgress>? Progress,
    CancellationToken CancellationToken)
{
    /// <summary>Notes a damping beyond the one wanted, and a Hessian of too few tokens.</summary>
    public void NoteDamping(double wanted, double damping)
    {
        if (damping > wanted)
        {
            Notes.Add(string.Create(
                CultureInfo.InvariantCulture,
                $"The Hessian was not positive definite with damping {wanted:g2}; {damping:g2} was needed."));
        }

        if (Statistics.TokenCount < Statistics.Dimension)
        {
            Notes.Add(
                $"Fewer calibration tokens ({Statistics.TokenCount}) than inputs ({Statistics.Dimension}): the Hessian is singular but for its damping.");
        }
    }
}
