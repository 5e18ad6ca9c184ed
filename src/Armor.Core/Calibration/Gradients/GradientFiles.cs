using System.Globalization;
using Armor.Runtime.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Gradients;

/// <summary>The gradient statistics of a model's linears in a folder, one file a linear.</summary>
internal sealed class GradientFiles(string folder)
{
    private const string Extension = ".gradients";
    private const string CompleteName = "complete";
    private const string TokensKey = "tokens";

    /// <summary>The folder.</summary>
    public string Folder { get; } = folder;

    /// <summary>Whether a whole pass has left its results here.</summary>
    public bool IsComplete => File.Exists(Path.Combine(Folder, CompleteName));

    /// <summary>Says that the pass is over.</summary>
    public void Complete()
    {
        Directory.CreateDirectory(Folder);
        File.WriteAllText(Path.Combine(Folder, CompleteName), string.Empty);
    }

    /// <summary>Writes the statistics of a linear.</summary>
    public void Write(string linear, GradientStatistics statistics)
    {
        Directory.CreateDirectory(Folder);
        TensorDescription[] tensors = [.. statistics.Blocks.Select((block, index) => new TensorDescription(Name(index), TensorElementType.Float32, block.shape))];
        var metadata = new Dictionary<string, string> { [TokensKey] = statistics.TokenCount.ToString(CultureInfo.InvariantCulture) };
        using SafetensorsWriter writer = SafetensorsWriter.Create(PathOf(linear), tensors, metadata);
        for (int index = 0; index < tensors.Length; index++)
        {
            writer.WriteFloat32(Name(index), TensorMemory.Floats(statistics.Blocks[index], 0, checked((int)statistics.Blocks[index].numel())));
        }

        writer.Commit();
    }

    /// <summary>Whether the pass has left statistics of a linear.</summary>
    public bool Has(string linear) => File.Exists(PathOf(linear));

    /// <summary>Reads the statistics of a linear; null where the pass has none, because no token reached the linear.</summary>
    /// <exception cref="CheckpointException">The file is damaged.</exception>
    public GradientStatistics? Read(string linear)
    {
        if (!Has(linear))
        {
            return null;
        }

        string path = PathOf(linear);
        using var scope = NewDisposeScope();
        using SafetensorsFile file = SafetensorsFile.Open(path);
        if (!file.Metadata.TryGetValue(TokensKey, out string? text) || !long.TryParse(text, CultureInfo.InvariantCulture, out long tokens))
        {
            throw new CheckpointException(path, "not the gradients of a linear; delete the file's folder to collect them again", null, "a token count", text ?? "none");
        }

        var blocks = new Tensor[file.Tensors.Count];
        for (int index = 0; index < blocks.Length; index++)
        {
            TensorDescription tensor = file.GetTensor(Name(index));
            blocks[index] = empty([.. tensor.Shape], float32);
            file.ReadFloat32(tensor.Name, TensorMemory.Floats(blocks[index], 0, checked((int)tensor.ElementCount)));
        }

        return new GradientStatistics(blocks, tokens);
    }

    private static string Name(int block) => block.ToString(CultureInfo.InvariantCulture);

    private string PathOf(string linear) => Path.Combine(Folder, linear + Extension);
}
