using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Runtime.Generation;

/// <summary>Where tokens look their rows up. Safe for use from several threads.</summary>
internal abstract class EmbeddingRows : IDisposable
{
    /// <summary>Copies a token's row.</summary>
    /// <param name="token">Below the vocabulary size.</param>
    /// <param name="destination">[hidden].</param>
    public abstract void CopyRow(int token, Span<float> destination);

    /// <summary>Closes what the rows are read from.</summary>
    public abstract void Dispose();
}

/// <summary>Rows of a dense weight in memory, as a rule the head's.</summary>
internal sealed class HeldEmbedding(KernelWeight weight) : EmbeddingRows
{
    public override void CopyRow(int token, Span<float> destination) => weight.CopyRow(token, destination);

    /// <summary>The weight is disposed of with the other matrices.</summary>
    public override void Dispose()
    {
    }
}

/// <summary>
/// Rows of a checkpoint's file, which stays open: what memory a head of another type takes is not taken twice. A row is some kilobytes, which the system keeps
/// at hand for those that come often.
/// </summary>
internal sealed class StoredEmbedding : EmbeddingRows
{
    private readonly SafetensorsFile _file;
    private readonly string _tensor;

    /// <summary>Opens the file once more, for as long as the model lives.</summary>
    /// <exception cref="CheckpointException">The file cannot be opened, or is another one by now.</exception>
    public StoredEmbedding(CheckpointFolder checkpoint, string tensor)
    {
        var expected = checkpoint.GetTensor(tensor);
        _tensor = tensor;
        _file = SafetensorsFile.Open(checkpoint.FileOf(tensor).Path);
        try
        {
            var found = _file.GetTensor(tensor);
            if (found.ElementType != expected.ElementType || !found.Shape.SequenceEqual(expected.Shape))
            {
                throw new CheckpointException(
                    _file.Path, "the file has been replaced while the model was loaded", tensor, $"{expected.ElementType} {expected.ShapeText}",
                    $"{found.ElementType} {found.ShapeText}");
            }
        }
        catch
        {
            _file.Dispose();
            throw;
        }
    }

    public override void CopyRow(int token, Span<float> destination) => _file.ReadFloat32(_tensor, (long)token * destination.Length, destination);

    public override void Dispose() => _file.Dispose();
}
