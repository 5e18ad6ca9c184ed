using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>From tokens to the residual stream before the first layer.</summary>
internal static class TokenEmbedding
{
    /// <summary>Looks tokens up, and scales them where the family does.</summary>
    /// <param name="embedding">[vocabulary, hidden].</param>
    /// <param name="tokens">[batch, length], 64-bit integers in [0, vocabulary).</param>
    /// <param name="configuration">The model.</param>
    /// <returns>[batch, length, hidden].</returns>
    public static Tensor Look(Tensor embedding, Tensor tokens, ModelConfiguration configuration)
    {
        using var scope = NewDisposeScope();
        var rows = embedding.index_select(0, tokens.flatten()).view([.. tokens.shape, configuration.HiddenSize]);
        return (configuration.EmbeddingScale == 1 ? rows : rows.Times(configuration.EmbeddingScale)).MoveToOuterDisposeScope();
    }
}
