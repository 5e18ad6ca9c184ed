using System.Runtime.InteropServices;
using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.TinyModel.Training;

/// <summary>
/// The state of a run: step, tokens, seconds, weights and moments. The data order depends on seed and step alone, so no generator's state is
/// kept. Written to a temporary name and renamed.
/// </summary>
internal sealed record TrainingCheckpoint(int Step, long Tokens, double Seconds)
{
    private const string Magic = "armor-tiny training state 1";

    public static void Save(string path, TrainingCheckpoint position, CausalLanguageModel model, AdamW optimizer)
    {
        var temporary = path + ".partial";
        using (var writer = new BinaryWriter(File.Create(temporary)))
        {
            writer.Write(Magic);
            writer.Write(position.Step);
            writer.Write(position.Tokens);
            writer.Write(position.Seconds);
            foreach (var (name, weight) in model.Weights)
            {
                writer.Write(name);
                Write(writer, weight);
                Write(writer, optimizer.FirstMoments[name]);
                Write(writer, optimizer.SecondMoments[name]);
            }
        }

        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>Reads a state into a model and, unless null, an optimizer of the same shapes.</summary>
    public static TrainingCheckpoint Load(string path, CausalLanguageModel model, AdamW? optimizer)
    {
        using var reader = new BinaryReader(File.OpenRead(path));
        if (reader.ReadString() != Magic)
        {
            throw new IOException($"{path}: expected \"{Magic}\" at the start");
        }

        var position = new TrainingCheckpoint(reader.ReadInt32(), reader.ReadInt64(), reader.ReadDouble());
        foreach (var (name, weight) in model.Weights)
        {
            var found = reader.ReadString();
            if (found != name)
            {
                throw new IOException($"{path}: expected tensor {name}, found {found}");
            }

            Read(reader, path, name, weight);
            Read(reader, path, name, optimizer?.FirstMoments[name]);
            Read(reader, path, name, optimizer?.SecondMoments[name]);
        }

        return position;
    }

    private static void Write(BinaryWriter writer, Tensor tensor)
    {
        using var plain = tensor.detach();
        var values = plain.data<float>().ToArray();
        writer.Write(values.Length);
        writer.Write(MemoryMarshal.AsBytes<float>(values));
    }

    private static void Read(BinaryReader reader, string path, string name, Tensor? target)
    {
        var values = new float[reader.ReadInt32()];
        reader.BaseStream.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
        if (target is null)
        {
            return;
        }

        if (values.Length != target.numel())
        {
            throw new IOException($"{path}: {name}: expected {target.numel()} values, found {values.Length}");
        }

        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        target.copy_(tensor(values).view(target.shape));
    }
}
