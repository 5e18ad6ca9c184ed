using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>From rows of the embedding to the residual stream before the first layer.</summary>
internal static class TokenEmbedding
{
    /// <summary>Scales embedded tokens where the family does; returns its argument where it does not.</summary>
    public static Tensor Scale(Tensor rows, ModelConfiguration configuration) =>
        configuration.EmbeddingScale == 1 ? rows : rows.Times(configuration.EmbeddingScale);
}
