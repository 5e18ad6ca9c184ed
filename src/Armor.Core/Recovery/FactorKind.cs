namespace Armor.Core.Recovery;

/// <summary>What a parameter under recovery is.</summary>
internal enum FactorKind
{
    /// <summary>The kept values of S.</summary>
    Core,

    /// <summary>The blocks of A.</summary>
    Output,

    /// <summary>The blocks of B.</summary>
    Input,
}

/// <summary>Where a parameter lies in the buffers of <see cref="TrainableFactors"/>.</summary>
/// <param name="Linear">Such as <c>model.layers.0.mlp.up_proj</c>.</param>
/// <param name="Kind">Which of its factors.</param>
/// <param name="Shape">Of the parameter.</param>
/// <param name="Start">The first element.</param>
/// <param name="Length">The number of elements.</param>
internal sealed record FactorSlice(string Linear, FactorKind Kind, long[] Shape, long Start, long Length);
