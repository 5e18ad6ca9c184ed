namespace Armor.Runtime.Models;

/// <summary>The mixture of experts that stands in the place of every layer's MLP. Each token goes through the experts that its router likes best.</summary>
/// <param name="Count">Number of experts in a layer.</param>
/// <param name="PerToken">Number of experts that a token goes through.</param>
/// <param name="NormalizesWeights">
/// True where the chosen experts' weights are scaled to sum to one; false where they stay those of the softmax over all experts.
/// </param>
public sealed record ExpertConfiguration(int Count, int PerToken, bool NormalizesWeights);
