using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>The final norm and the head, with the family's cap on the logits.</summary>
internal static class LanguageModelHead
{
    /// <summary>From the residual stream after the last layer to logits.</summary>
    /// <param name="configuration">The model.</param>
    /// <param name="hidden">[..., hidden].</param>
    /// <param name="norm">[hidden].</param>
    /// <param name="head">[vocabulary, hidden].</param>
    /// <param name="type">The type to compute in.</param>
    /// <returns>[..., vocabulary].</returns>
    public static Tensor Apply(ModelConfiguration configuration, Tensor hidden, Tensor norm, Tensor head, ScalarType type)
    {
        using var scope = NewDisposeScope();
        var normed = RootMeanSquareNorm.Apply(hidden, norm, configuration.HasUnitOffsetNorms, configuration.NormEpsilon, type);
        var logits = nn.functional.linear(normed, head.to(type));
        return (configuration.LogitSoftCap is { } cap ? logits.Over(cap).tanh().Times(cap) : logits).MoveToOuterDisposeScope();
    }
}
