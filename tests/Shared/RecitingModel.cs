using Armor.Runtime.Checkpoints;

namespace Armor.Tests.Shared;

/// <summary>
/// A model that has learned a text by heart, made without TorchSharp: after each token of it comes the next one, whatever was said before. Its layers
/// add nothing; the head's row of a token is the embedding of the token before it.
/// </summary>
internal static class RecitingModel
{
    public const string TurnStart = "<|im_start|>";
    public const string TurnEnd = "<|im_end|>";
    public const int EndOfSequence = Vocabulary - 1;
    private const int Vocabulary = 260;
    private const int Hidden = 64;

    /// <summary>Writes weights and tokenizer of one that chats by ChatML's template: after the last character it ends its turn.</summary>
    /// <param name="folder">Made where missing.</param>
    /// <param name="answer">Printable ASCII, each character at most once: what is said where an answer begins.</param>
    /// <param name="context">The most tokens of a conversation.</param>
    public static string Write(string folder, string answer, int context = 256)
    {
        var tokenizer = ByteTokenizer.Write(folder, TurnStart, TurnEnd);
        var lineBreak = tokenizer.Encode("\n", addBeginOfSequence: false)[0];
        WriteWeights(folder, [lineBreak, .. answer.Select(character => (int)character), tokenizer.SpecialTokens[TurnEnd]], context, [EndOfSequence]);
        return folder;
    }

    /// <summary>Writes weights and tokenizer of one that says bytes, then the end of sequence, of which it knows two, again and again.</summary>
    /// <param name="folder">Made where missing.</param>
    /// <param name="chain">Bytes, each at most once; they are tokens as well.</param>
    /// <param name="context">The most tokens.</param>
    public static string WriteChain(string folder, IReadOnlyList<byte> chain, int context)
    {
        ByteTokenizer.Write(folder);
        WriteWeights(folder, [.. chain.Select(value => (int)value), EndOfSequence, EndOfSequence], context, [EndOfSequence - 1, EndOfSequence]);
        return folder;
    }

    private static void WriteWeights(string folder, int[] chain, int context, int[] endOfSequence)
    {
        var random = new Random(1);
        float[] embedding = [.. Enumerable.Range(0, Vocabulary * Hidden).Select(_ => (float)Math.Sqrt(3) * ((2 * random.NextSingle()) - 1))];
        var head = new float[Vocabulary * Hidden];
        for (var index = 1; index < chain.Length; index++)
        {
            for (var place = 0; place < Hidden; place++)
            {
                head[(chain[index] * Hidden) + place] += embedding[(chain[index - 1] * Hidden) + place];
            }
        }

        File.WriteAllText(
            Path.Combine(folder, "config.json"),
            $$"""
            {
              "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": {{Hidden}}, "intermediate_size": 8, "num_hidden_layers": 1,
              "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "vocab_size": {{Vocabulary}}, "max_position_embeddings": {{context}},
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false, "bos_token_id": 256, "eos_token_id": [{{string.Join(", ", endOfSequence)}}]
            }
            """);
        (string Name, int[] Shape, float[]? Values)[] tensors =
        [
            ("model.embed_tokens.weight", [Vocabulary, Hidden], embedding),
            ("lm_head.weight", [Vocabulary, Hidden], head),
            ("model.norm.weight", [Hidden], Ones()),
            ("model.layers.0.input_layernorm.weight", [Hidden], Ones()),
            ("model.layers.0.post_attention_layernorm.weight", [Hidden], Ones()),
            ("model.layers.0.self_attn.q_proj.weight", [16, Hidden], null),
            ("model.layers.0.self_attn.k_proj.weight", [8, Hidden], null),
            ("model.layers.0.self_attn.v_proj.weight", [8, Hidden], null),
            ("model.layers.0.self_attn.o_proj.weight", [Hidden, 16], null),
            ("model.layers.0.mlp.gate_proj.weight", [8, Hidden], null),
            ("model.layers.0.mlp.up_proj.weight", [8, Hidden], null),
            ("model.layers.0.mlp.down_proj.weight", [Hidden, 8], null),
        ];
        using var writer = SafetensorsWriter.Create(
            Path.Combine(folder, "model.safetensors"),
            [.. tensors.Select(tensor => new TensorDescription(tensor.Name, TensorElementType.Float32, [.. tensor.Shape.Select(size => (long)size)]))]);
        foreach (var (name, shape, values) in tensors)
        {
            writer.WriteFloat32(name, values ?? new float[shape.Aggregate(1, (product, size) => product * size)]);
        }

        writer.Commit();

        static float[] Ones() => [.. Enumerable.Repeat(1f, Hidden)];
    }
}
