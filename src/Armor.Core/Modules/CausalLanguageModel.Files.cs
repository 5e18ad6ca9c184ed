using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>Loading and saving.</summary>
public sealed partial class CausalLanguageModel
{
    // A range small enough that a large embedding never needs a second whole copy.
    private const int RangeElements = 1 << 24;
    private const string WeightSuffix = ".weight";

    /// <summary>Loads a Hugging Face folder, or an ARMOR checkpoint, whose pruned linears are multiplied out to A·S·B.</summary>
    /// <param name="folder">The folder with <c>config.json</c> and safetensors weights.</param>
    /// <param name="device">Where the weights go; null for the CPU.</param>
    /// <param name="type">The type of the weights; null for float32.</param>
    /// <exception cref="CheckpointException">
    /// The configuration breaks a rule, a tensor is missing, unexpected, of another shape, or holds a value that is not finite.
    /// </exception>
    public static CausalLanguageModel Load(string folder, Device? device = null, ScalarType? type = null)
    {
        var (place, elements) = (device ?? CPU, type ?? ScalarType.Float32);
        if (ArmorCheckpoint.IsArmor(folder))
        {
            using var armor = ArmorCheckpoint.Open(folder);
            CheckpointVerification.Verify(armor);
            var pruned = armor.PrunedLinears.Select(linear => linear + WeightSuffix).ToHashSet(StringComparer.Ordinal);
            return new CausalLanguageModel(
                armor.Base.Configuration,
                shape => pruned.Contains(shape.Name) ? Multiply(armor, shape, place, elements) : Read(armor.Base, shape, place, elements));
        }

        using var checkpoint = CheckpointFolder.Open(folder);
        CheckpointVerification.Verify(checkpoint);
        return new CausalLanguageModel(checkpoint.Configuration, shape => Read(checkpoint, shape, place, elements));
    }

    /// <summary>Loads a part of a model: for fine-tuning, which replaces the linears, or for the embedding and the head alone.</summary>
    /// <param name="checkpoint">Holds the weights; stays the caller's.</param>
    /// <param name="isAbsent">Whether a tensor is left out; in its place stand zeros that take no memory.</param>
    internal static CausalLanguageModel LoadPart(CheckpointFolder checkpoint, Func<string, bool> isAbsent)
    {
        using var zero = zeros(1);
        return new CausalLanguageModel(
            checkpoint.Configuration,
            shape => isAbsent(shape.Name) ? zero.expand([.. shape.Shape]) : Read(checkpoint, shape, CPU, ScalarType.Float32));
    }

    /// <summary>
    /// Writes <c>config.json</c> and <c>model.safetensors</c>, each to a temporary name first. Tokenizer files are the caller's.
    /// </summary>
    /// <param name="folder">Created where it is missing.</param>
    /// <param name="type">The stored type of every tensor.</param>
    /// <exception cref="CheckpointException">A weight is not finite.</exception>
    public void Save(string folder, TensorElementType type = TensorElementType.BFloat16)
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, "model.safetensors");
        var stored = StoredTensors();
        var tensors = stored.Select(tensor => new TensorDescription(tensor.Name, type, Stacked([.. tensor.Parts.Select(part => _weights[part].shape)]))).ToList();
        using (var writer = SafetensorsWriter.Create(path, tensors, new Dictionary<string, string> { ["format"] = "pt" }))
        {
            foreach (var (name, parts) in stored)
            {
                foreach (var part in parts)
                {
                    using var scope = NewDisposeScope();
                    var values = _weights[part].detach().to(ScalarType.Float32).cpu().contiguous();
                    RequireFinite(values, path, part);
                    writer.WriteFloat32(name, values.data<float>().ToArray());
                }
            }

            writer.Commit();
        }

        var temporary = Path.Combine(folder, "config.json.partial");
        File.WriteAllText(temporary, ConfigurationWriter.Write(Configuration with { StoredType = type }));
        File.Move(temporary, Path.Combine(folder, "config.json"), overwrite: true);
    }

    /// <summary>The tensors as a file has them, each with the weights that it is stacked of: as a rule one.</summary>
    private List<(string Name, IReadOnlyList<string> Parts)> StoredTensors()
    {
        var fused = Enumerable.Range(0, Configuration.LayerCount).Select(ModelShapes.LayerPrefix).SelectMany(prefix =>
            ModelShapes.FusedLinears(Configuration).Select(linear =>
                (Name: prefix + linear.Name + WeightSuffix, Parts: (IReadOnlyList<string>)[.. linear.Parts.Select(part => prefix + part + WeightSuffix)]))).ToList();
        var byFirst = fused.ToDictionary(tensor => tensor.Parts[0], StringComparer.Ordinal);
        var others = fused.SelectMany(tensor => tensor.Parts.Skip(1)).ToHashSet(StringComparer.Ordinal);
        return [.. _weights.Keys.Where(name => !others.Contains(name)).Select(name => byFirst.TryGetValue(name, out var tensor) ? tensor : (name, [name]))];
    }

    private static long[] Stacked(long[][] shapes) => [shapes.Sum(shape => shape[0]), .. shapes[0][1..]];

    private static Tensor Read(CheckpointFolder checkpoint, TensorShape shape, Device device, ScalarType type)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        var weight = empty([.. shape.Shape], type, device);
        var flat = weight.view(-1);
        var values = new float[Math.Min(shape.ElementCount, RangeElements)];
        for (long first = 0; first < shape.ElementCount; first += values.Length)
        {
            var count = (int)Math.Min(values.Length, shape.ElementCount - first);
            checkpoint.ReadFloat32(shape.Name, first, values.AsSpan(0, count));
            using var range = NewDisposeScope();
            var read = tensor(values[..count]);
            RequireFinite(read, checkpoint.Folder, shape.Name);
            flat.narrow(0, first, count).copy_(read);
        }

        return weight.MoveToOuterDisposeScope();
    }

    private static Tensor Multiply(ArmorCheckpoint armor, TensorShape shape, Device device, ScalarType type)
    {
        using var scope = NewDisposeScope();
        var values = tensor(armor.ReadLayer(shape.Name[..^WeightSuffix.Length]).ToDense());
        RequireFinite(values, armor.Base.Folder, shape.Name);
        return values.view([.. shape.Shape]).to(type, device).MoveToOuterDisposeScope();
    }

    private static void RequireFinite(Tensor values, string file, string name)
    {
        using var scope = NewDisposeScope();
        if (!values.isfinite().all().item<bool>())
        {
            var first = values.flatten()[values.isfinite().logical_not().flatten().nonzero().flatten()[0]].item<float>();
            throw new CheckpointException(file, "a weight is not finite", name, "finite values", $"{first}");
        }
    }
}
