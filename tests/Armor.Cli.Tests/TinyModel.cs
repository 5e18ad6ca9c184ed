using Armor.Core.Modules;
using Armor.Runtime.Models;

namespace Armor.Cli.Tests;

/// <summary>A random Llama of one layer with a tokenizer of single bytes, and texts for it.</summary>
internal static class TinyModel
{
    public const int ContextLength = 32;

    private const string Configuration =
        """
        {
          "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
          "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 260, "max_position_embeddings": 32, "rms_norm_eps": 1e-5,
          "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "bfloat16"
        }
        """;

    public static string Write(string folder, int seed = 3)
    {
        using var model = new CausalLanguageModel(ModelConfiguration.Parse(Configuration, "the test's configuration"), seed: seed);
        model.Save(folder);
        ByteTokenizer.Write(folder);
        return folder;
    }

    /// <summary>Writes documents separated by the default separator.</summary>
    public static string WriteText(string path, int documents, int seed)
    {
        var random = new Random(seed);
        File.WriteAllText(path, string.Join("\n<|endoftext|>\n", Enumerable.Range(0, documents)
            .Select(_ => string.Concat(Enumerable.Range(0, random.Next(5, 40)).Select(_ => (char)random.Next('a', 'z' + 1))))));
        return path;
    }
}
