using System.Text.Json;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Core.Tests;

/// <summary>Writes the folder of a random Llama of two layers, hidden 32: enough to go end to end in a blink.</summary>
internal static class TinyLlama
{
    public const int LayerCount = 2;
    public const int VocabularySize = 64;
    public const int ContextLength = 24;

    /// <summary>Writes <c>config.json</c> and <c>model.safetensors</c>.</summary>
    /// <param name="folder">Made where missing.</param>
    /// <param name="seed">Of the weights.</param>
    /// <param name="type">The stored type.</param>
    /// <param name="twoFour">Whether two of each four weights of a linear are zero.</param>
    /// <param name="change">May change a tensor's values before they are written.</param>
    public static string Write(
        string folder,
        int seed = 1,
        TensorElementType type = TensorElementType.Float32,
        bool twoFour = false,
        Action<string, float[]>? change = null)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["model_type"] = "llama",
            ["architectures"] = new[] { "LlamaForCausalLM" },
            ["hidden_size"] = 32,
            ["intermediate_size"] = 48,
            ["num_hidden_layers"] = LayerCount,
            ["num_attention_heads"] = 4,
            ["num_key_value_heads"] = 2,
            ["vocab_size"] = VocabularySize,
            ["max_position_embeddings"] = ContextLength,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0,
            ["hidden_act"] = "silu",
            ["tie_word_embeddings"] = true,
            ["bos_token_id"] = 1,
            ["eos_token_id"] = 2,
            ["torch_dtype"] = type == TensorElementType.BFloat16 ? "bfloat16" : type == TensorElementType.Float16 ? "float16" : "float32",
        }));
        TensorShape[] shapes = [.. ModelShapes.Enumerate(ModelConfiguration.Load(folder))];
        using SafetensorsWriter writer = SafetensorsWriter.Create(
            Path.Combine(folder, "model.safetensors"), [.. shapes.Select(shape => new TensorDescription(shape.Name, type, shape.Shape))]);
        var random = new Random(seed);
        foreach (TensorShape shape in shapes)
        {
            float[] values = Values(shape, twoFour, random);
            change?.Invoke(shape.Name, values);
            writer.WriteFloat32(shape.Name, values);
        }

        writer.Commit();
        return folder;
    }

    /// <summary>Random token sequences, BOS first, of lengths 2 to beyond the context.</summary>
    public static int[][] Sequences(int count, int seed = 7)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ =>
            Enumerable.Range(0, random.Next(2, ContextLength + 4)).Select(place => place == 0 ? 1 : random.Next(3, VocabularySize)).ToArray())];
    }

    private static float[] Values(TensorShape shape, bool twoFour, Random random)
    {
        var values = new float[shape.ElementCount];
        for (int i = 0; i < values.Length; i++)
        {
            float normal = (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
            // Sixteenths below 8: exact in every stored type.
            values[i] = shape.Shape.Count == 1 ? 1 + (0.125f * MathF.Round(normal)) : MathF.Round(Math.Clamp(normal, -3, 3) * 4) / 16;
        }

        if (twoFour && shape.Name.EndsWith("_proj.weight", StringComparison.Ordinal))
        {
            for (int group = 0; group < values.Length; group += 4)
            {
                values[group + random.Next(0, 2)] = 0;
                values[group + random.Next(2, 4)] = 0;
            }
        }

        return values;
    }
}
