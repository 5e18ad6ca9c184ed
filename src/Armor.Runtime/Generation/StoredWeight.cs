using System.Buffers;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Generation;

/// <summary>
/// A dense weight that stays in a checkpoint's file, which is open as long as the weight is there: an embedding whose head is held in another type, so that
/// no memory is taken for what is some kilobytes a token. Rows are exactly what is stored; the system keeps those at hand that come often.
/// </summary>
internal sealed class StoredWeight : KernelWeight
{
    private readonly SafetensorsFile _file;
    private readonly string _tensor;

    private StoredWeight(SafetensorsFile file, TensorDescription tensor)
        : base(KernelOperation.Dense, checked((int)tensor.Shape[0]), checked((int)tensor.Shape[1]), tensor.ElementType, bytes: 0)
    {
        _file = file;
        _tensor = tensor.Name;
    }

    /// <summary>Opens a tensor's file once more.</summary>
    /// <param name="checkpoint">Verified.</param>
    /// <param name="tensor">A matrix.</param>
    /// <exception cref="CheckpointException">The file cannot be opened, or is another one by now.</exception>
    public static StoredWeight Open(CheckpointFolder checkpoint, string tensor)
    {
        var expected = checkpoint.GetTensor(tensor);
        var file = SafetensorsFile.Open(checkpoint.FileOf(tensor).Path);
        try
        {
            var found = file.GetTensor(tensor);
            return found.ElementType == expected.ElementType && found.Shape.SequenceEqual(expected.Shape)
                ? new StoredWeight(file, found)
                : throw new CheckpointException(file.Path, "the file has been replaced while the model was loaded", tensor, $"{expected}", $"{found}");
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads the weight through, a row at a time: right, but nothing that a model does.</summary>
    protected override void MultiplyChecked(ReadOnlySpan<float> input, int batch, Span<float> output)
    {
        var row = ArrayPool<float>.Shared.Rent(Columns);
        try
        {
            for (var index = 0; index < Rows; index++)
            {
                CopyRowChecked(index, row.AsSpan(0, Columns));
                for (var item = 0; item < batch; item++)
                {
                    output[(item * Rows) + index] = DotProduct.Compute(row.AsSpan(0, Columns), input.Slice(item * Columns, Columns));
                }
            }
        }
        finally
        {
            ArrayPool<float>.Shared.Return(row);
        }
    }

    protected override void CopyRowChecked(int row, Span<float> destination) => _file.ReadFloat32(_tensor, (long)row * Columns, destination);

    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        if (disposing)
        {
            _file.Dispose();
        }
    }
}
