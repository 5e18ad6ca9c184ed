using Armor.Core.Pruning.SparseCores;
using static TorchSharp.torch;

namespace Armor.Core;

/// <summary>Pieces of a contiguous CPU tensor's memory: a span holds less than a large tensor. They live as long as the tensor.</summary>
internal static unsafe class TensorMemory
{
    /// <summary>Bytes of a piece that is worth a call and little beside a weight.</summary>
    public const int PieceBytes = 1 << 24;

    /// <summary>Elements first .. first + count of a float32 tensor, row-major.</summary>
    public static Span<float> Floats(Tensor tensor, long first, int count)
    {
        using var scope = TorchSharp.torch.NewDisposeScope();
        return new Span<float>(CoreSystems.Pointer(tensor.view(-1).narrow(0, first, count)), count);
    }

    /// <summary>The pieces of a number of elements as (first, count).</summary>
    public static IEnumerable<(long First, int Count)> Pieces(long elements)
    {
        const int Size = PieceBytes / sizeof(float);
        for (long first = 0; first < elements; first += Size)
        {
            yield return (first, (int)Math.Min(Size, elements - first));
        }
    }
}
