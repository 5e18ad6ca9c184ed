using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>RMS norm over the last dimension: x / √(mean x² + ε) · weight, or · (1 + weight).</summary>
internal static class RootMeanSquareNorm
{
    /// <summary>Normalises in single precision whatever the types are, and returns <paramref name="type"/>.</summary>
    /// <param name="input">[..., size].</param>
    /// <param name="weight">[size].</param>
    /// <param name="isOffset">Whether the weight is what differs from one.</param>
    /// <param name="epsilon">ε.</param>
    /// <param name="type">The type of the result.</param>
    public static Tensor Apply(Tensor input, Tensor weight, bool isOffset, float epsilon, ScalarType type)
    {
        using var scope = NewDisposeScope();
        var wide = input.to(input.dtype == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32);
        var scale = wide.Squared().mean([-1], keepdim: true).Plus(epsilon).rsqrt();
        var factor = isOffset ? weight.to(wide.dtype).Plus(1.0) : weight;
        return (wide * scale * factor).to(type).MoveToOuterDisposeScope();
    }
}
