using System.Numerics;
using Armor.Core.Pruning.SparseCores;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core;

/// <summary>Pieces of a contiguous CPU tensor's memory: a span holds less than a large tensor. They live as long as the tensor.</summary>
internal static unsafe class TensorMemory
{
    /// <summary>Bytes of a piece that is worth a call and little beside a weight.</summary>
    public const int PieceBytes = 1 << 24;

    // libtorch's own on the CPU.
    private const int Alignment = 64;

    /// <summary>Elements first .. first + count of a float32 tensor, row-major.</summary>
    public static Span<float> Floats(Tensor tensor, long first, int count)
    {
        using var scope = TorchSharp.torch.NewDisposeScope();
        return new Span<float>(CoreSystems.Pointer(tensor.view(-1).narrow(0, first, count)), count);
    }

    /// <summary>
    /// A contiguous float32 tensor, or a copy of it where it begins at an address that libtorch would not have chosen, as one around a managed array may: its
    /// products round by alignment, and equal input is to give equal bytes.
    /// </summary>
    public static Tensor Aligned(Tensor tensor) =>
        tensor.device_type != DeviceType.CPU || (nuint)CoreSystems.Pointer(tensor) % Alignment == 0 ? tensor : tensor.clone();

    /// <summary>The sum of the products of two contiguous float32 tensors of one shape, float32 products summed in float64, in one pass.</summary>
    public static double Inner(Tensor a, Tensor b)
    {
        float* x = CoreSystems.Pointer(a);
        float* y = CoreSystems.Pointer(b);
        long length = a.numel();
        Vector<double> low = default;
        Vector<double> high = default;
        long i = 0;
        for (; i + Vector<float>.Count <= length; i += Vector<float>.Count)
        {
            Vector.Widen(Vector.Load(x + i) * Vector.Load(y + i), out Vector<double> first, out Vector<double> second);
            low += first;
            high += second;
        }

        double sum = Vector.Sum(low + high);
        for (; i < length; i++)
        {
            sum += x[i] * y[i];
        }

        GC.KeepAlive((a, b));
        return sum;
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
