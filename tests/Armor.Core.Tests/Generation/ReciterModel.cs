using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Generation;

/// <summary>
/// A model that has learned chains of bytes by heart: after each byte of a text it says the next one, and after the last the end of sequence.
/// Its layers add nothing; the head's row of a token is the embedding of the token before it.
/// </summary>
internal static class ReciterModel
{
    public const int EndOfSequence = 259;
    public const int ContextLength = 24;

    /// <summary>Writes weights and tokenizer.</summary>
    /// <param name="folder">Made where missing.</param>
    /// <param name="chain">Bytes, each at most once; they are tokens as well.</param>
    public static string Write(string folder, IReadOnlyList<byte> chain)
    {
        var configuration = new ModelConfiguration
        {
            Family = ModelFamily.Llama,
            HiddenSize = 64,
            IntermediateSize = 8,
            LayerCount = 1,
            AttentionHeadCount = 2,
            KeyValueHeadCount = 1,
            HeadSize = 8,
            VocabularySize = 260,
            ContextLength = ContextLength,
            EndOfSequence = [258, EndOfSequence],
        };
        using var scope = NewDisposeScope();
        using var model = new CausalLanguageModel(configuration);
        using var generator = new Generator(1);
        Tensor embedding = randn([260, 64], generator: generator);
        Tensor head = zeros([260, 64]);
        for (int i = 0; i < chain.Count; i++)
        {
            head[i + 1 < chain.Count ? chain[i + 1] : EndOfSequence] = embedding[(long)chain[i]];
        }

        // The end of sequence is followed by itself.
        head[EndOfSequence] += embedding[EndOfSequence];
        model.SetWeight(ModelShapes.Embedding, embedding);
        model.SetWeight(ModelShapes.Head, head);
        foreach (string linear in new[] { ModelShapes.AttentionOutput, ModelShapes.Down })
        {
            model.SetWeight(ModelShapes.LayerPrefix(0) + linear + ".weight", zeros(64, linear == ModelShapes.Down ? 8 : 16));
        }

        model.Save(folder, TensorElementType.Float32);
        ByteTokenizer.Write(folder);
        return folder;
    }
}
