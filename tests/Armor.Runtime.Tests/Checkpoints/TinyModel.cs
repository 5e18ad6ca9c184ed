using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Tests.Checkpoints;

/// <summary>A made-up model folder with two linears, and layers for them.</summary>
internal static class TinyModel
{
    public const string First = "model.layers.0.mlp.up_proj";
    public const string Second = "model.layers.0.mlp.down_proj";

    public static readonly string[] Linears = [First, Second];

    public const string Configuration = """{"model_type":"llama","rms_norm_eps":1e-05,"name":"Café <s>"}""";

    public static void WriteDense(string folder, TensorElementType type = TensorElementType.Float32)
    {
        Directory.CreateDirectory(folder);
        TensorDescription[] tensors =
        [
            new("model.embed_tokens.weight", TensorElementType.BFloat16, [5, 12]),
            new(First + ".bias", TensorElementType.Float32, [8]),
            new(First + ".weight", type, [8, 12]),
            new(Second + ".weight", type, [12, 8]),
            new("empty", TensorElementType.Int64, [0]),
        ];
        using var writer = SafetensorsWriter.Create(Path.Combine(folder, "model.safetensors"), tensors, new Dictionary<string, string> { ["format"] = "pt" });
        var random = new Random(1);
        foreach (var tensor in tensors.Where(tensor => tensor.ByteCount > 0))
        {
            writer.WriteFloat32(tensor.Name, Generators.Values(random, (int)tensor.ElementCount));
        }

        writer.Commit();
        File.WriteAllText(Path.Combine(folder, "config.json"), Configuration);
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), "{}");
        File.WriteAllText(Path.Combine(folder, "pytorch_model.bin"), "old weights");
        Directory.CreateDirectory(Path.Combine(folder, "original"));
    }

    /// <summary>The layer of a linear: with both wrappers, or with none.</summary>
    public static ArmorLayer Layer(string linear, bool wrapped = true)
        => linear == First
            ? Generators.RandomLayer(8, 12, wrapped ? 4 : null, wrapped ? 6 : null, 7)
            : Generators.RandomLayer(12, 8, null, wrapped ? 2 : null, 8);

    public static void WriteArmor(string dense, string output, TensorElementType type = TensorElementType.Float32, bool wrapped = true, TensorElementType? coreType = null)
    {
        using var source = CheckpointFolder.Open(dense);
        ArmorCheckpointWriter.Write(source, output, Linears, type, linear => Layer(linear, wrapped), coreType: coreType);
    }
}
