using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Benchmarks.Scale;

/// <summary>
/// A bfloat16 Llama of any shape with random weights, written tensor by tensor into shards of at most 2 GB. A linear is Gaussian with columns of
/// log-normal scale, a few of them ten times as large (the outlier channels of trained models), plus sixteen directions of singular values that fall
/// as 1/k.
/// </summary>
internal static class SyntheticCheckpoint
{
    private const long ShardBytes = 2_000_000_000;
    private const long RowsBytes = 1 << 26;
    private const int Directions = 16;

    /// <summary>Writes the folder.</summary>
    public static void Write(string folder, ScaleShape shape, int seed)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "config.json"), JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["model_type"] = "llama",
            ["architectures"] = new[] { "LlamaForCausalLM" },
            ["hidden_size"] = shape.Hidden,
            ["intermediate_size"] = shape.Intermediate,
            ["num_hidden_layers"] = shape.Layers,
            ["num_attention_heads"] = shape.Heads,
            ["num_key_value_heads"] = shape.Heads,
            ["vocab_size"] = shape.Vocabulary,
            ["max_position_embeddings"] = 4096,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0,
            ["hidden_act"] = "silu",
            ["tie_word_embeddings"] = false,
            ["bos_token_id"] = 1,
            ["eos_token_id"] = 2,
            ["torch_dtype"] = "bfloat16",
        }));
        TensorDescription[] tensors =
            [.. ModelShapes.Enumerate(ModelConfiguration.Load(folder)).Select(tensor => new TensorDescription(tensor.Name, TensorElementType.BFloat16, tensor.Shape))];
        List<List<TensorDescription>> shards = [[]];
        foreach (TensorDescription tensor in tensors)
        {
            if (shards[^1].Sum(other => other.ByteCount) + tensor.ByteCount > ShardBytes)
            {
                shards.Add([]);
            }

            shards[^1].Add(tensor);
        }

        using var generator = new Generator((ulong)seed);
        var map = new Dictionary<string, string>();
        for (int shard = 0; shard < shards.Count; shard++)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"model-{shard + 1:00000}-of-{shards.Count:00000}.safetensors");
            using SafetensorsWriter writer = SafetensorsWriter.Create(Path.Combine(folder, name), shards[shard]);
            foreach (TensorDescription tensor in shards[shard])
            {
                WriteTensor(writer, tensor, generator);
                map.Add(tensor.Name, name);
            }

            writer.Commit();
        }

        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["metadata"] = new Dictionary<string, long> { ["total_size"] = tensors.Sum(tensor => tensor.ByteCount) },
            ["weight_map"] = map,
        }));
    }

    /// <summary>Token sequences in which the token of rank r comes in proportion to 1/r; BOS first.</summary>
    public static int[][] Tokens(int sequences, int length, int vocabulary, int seed)
    {
        var random = new Random(seed);
        double total = Math.Log(vocabulary - 3);
        return [.. Enumerable.Range(0, sequences).Select(_ =>
            Enumerable.Range(0, length).Select(place => place == 0 ? 1 : 3 + (int)Math.Min(vocabulary - 4, Math.Exp(random.NextDouble() * total))).ToArray())];
    }

    private static void WriteTensor(SafetensorsWriter writer, TensorDescription tensor, Generator generator)
    {
        using var scope = NewDisposeScope();
        if (tensor.Shape.Count == 1)
        {
            Append(writer, tensor.Name, ones(tensor.Shape[0]));
            return;
        }

        (long rows, long columns) = (tensor.Shape[0], tensor.Shape[1]);
        bool linear = tensor.Name.EndsWith("_proj.weight", StringComparison.Ordinal);
        Tensor scale = randn([columns], generator: generator).mul(0.3f.ToScalar()).exp();
        scale.narrow(0, 0, Math.Max(1, columns / 1000)).mul_(torch.tensor(10f));
        Tensor right = randn([Directions, columns], generator: generator);
        float deviation = 0.5f / MathF.Sqrt(columns);
        long step = Math.Max(1, RowsBytes / (columns * sizeof(float)));
        for (long first = 0; first < rows; first += step)
        {
            using var rowScope = NewDisposeScope();
            long count = Math.Min(step, rows - first);
            Tensor values = randn([count, columns], generator: generator);
            if (linear)
            {
                Tensor left = randn([count, Directions], generator: generator) / arange(1, Directions + 1, dtype: float32);
                values = (values * scale).add(left.matmul(right));
            }

            Append(writer, tensor.Name, values.mul(deviation.ToScalar()));
        }
    }

    private static void Append(SafetensorsWriter writer, string name, Tensor values) =>
        writer.WriteFloat32(name, MemoryMarshal.Cast<byte, float>(values.contiguous().bytes));
}

/// <summary>The sizes of a Llama.</summary>
internal sealed record ScaleShape(int Hidden, int Intermediate, int Layers, int Heads, int Vocabulary)
{
    /// <summary>Llama 2 7B.</summary>
    public static ScaleShape Llama7B { get; } = new(4096, 11008, 32, 32, 32000);
}
