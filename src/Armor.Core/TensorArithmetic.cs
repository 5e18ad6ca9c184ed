using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core;

/// <summary>
/// Sums and products with numbers, and tensors of one number read. TorchSharp 0.107 turns a number, and the factor hidden in tensor + tensor, into a temporary
/// <see cref="Scalar"/> whose finalizer may free it while the native call still reads it: whenever another thread sets off a collection in that
/// moment, the result is an exception, or wrong. Here every scalar outlives its call. BannedSymbols.txt keeps the other forms out.
/// </summary>
internal static class TensorArithmetic
{
    private static readonly Scalar One = 1.ToScalar();
    private static readonly Scalar Zero = 0.ToScalar();

    /// <summary>The value of a tensor of one number.</summary>
    public static double ToNumber(this Tensor a)
    {
        using Scalar scalar = a.ToScalar();
        return scalar.ToDouble();
    }

    /// <summary>The value of a tensor of one whole number.</summary>
    public static long ToInteger(this Tensor a)
    {
        using Scalar scalar = a.ToScalar();
        return scalar.ToInt64();
    }

    /// <summary>The value of a tensor of one truth value.</summary>
    public static bool IsTrue(this Tensor a)
    {
        using Scalar scalar = a.ToScalar();
        return scalar.ToBoolean();
    }

    /// <summary>a + b.</summary>
    public static Tensor Plus(this Tensor a, Tensor b) => a.add(b, One);

    /// <summary>a + b.</summary>
    public static Tensor Plus(this Tensor a, double b)
    {
        using Scalar scalar = b.ToScalar();
        return a.add(scalar, One);
    }

    /// <summary>a + b, integers staying integers.</summary>
    public static Tensor Plus(this Tensor a, long b)
    {
        using Scalar scalar = b.ToScalar();
        return a.add(scalar, One);
    }

    /// <summary>The integers start, start + 1, … below stop.</summary>
    public static Tensor Integers(long start, long stop, Device? device = null)
    {
        using Scalar first = start.ToScalar();
        using Scalar end = stop.ToScalar();
        return arange(first, end, One, ScalarType.Int64, device);
    }

    /// <summary>a·b.</summary>
    public static Tensor Times(this Tensor a, double b)
    {
        using Scalar scalar = b.ToScalar();
        return a.mul(scalar);
    }

    /// <summary>a², entry by entry.</summary>
    public static Tensor Squared(this Tensor a) => a.mul(a);

    /// <summary>a / b.</summary>
    public static Tensor Over(this Tensor a, double b)
    {
        using Scalar scalar = b.ToScalar();
        return a.div(scalar);
    }

    /// <summary>max(a, b).</summary>
    public static Tensor AtLeast(this Tensor a, double b)
    {
        using Scalar scalar = b.ToScalar();
        return a.clamp_min(scalar);
    }

    /// <summary>Where a is not zero.</summary>
    public static Tensor NonZero(this Tensor a) => a.ne(Zero);

    /// <summary>Where a is zero.</summary>
    public static Tensor IsZero(this Tensor a) => a.eq(Zero);

    /// <summary>Where a is above zero.</summary>
    public static Tensor Positive(this Tensor a) => a.gt(Zero);

    /// <summary>Where a is below zero.</summary>
    public static Tensor Negative(this Tensor a) => a.lt(Zero);

    /// <summary>Where a is below b.</summary>
    public static Tensor Below(this Tensor a, double b)
    {
        using Scalar scalar = b.ToScalar();
        return a.lt(scalar);
    }

    /// <summary>a += b.</summary>
    public static Tensor AddInPlace(this Tensor a, Tensor b) => a.add_(b, One);

    /// <summary>a += scale·b.</summary>
    public static Tensor AddInPlace(this Tensor a, Tensor b, double scale)
    {
        using Scalar scalar = scale.ToScalar();
        return a.add_(b, scalar);
    }

    /// <summary>a += scale·b·c.</summary>
    public static Tensor AddProductInPlace(this Tensor a, Tensor b, Tensor c, double scale)
    {
        using Scalar scalar = scale.ToScalar();
        return a.addcmul_(b, c, scalar);
    }

    /// <summary>a *= b.</summary>
    public static Tensor TimesInPlace(this Tensor a, double b)
    {
        using Scalar scalar = b.ToScalar();
        return a.mul_(scalar);
    }

    // Rows of an inner product that are multiplied at once.
    private const long InnerRows = 4096;

    /// <summary>⟨a, b⟩: the sum of the entries' products, float32 products summed in float64.</summary>
    public static double Inner(this Tensor a, Tensor b)
    {
        if (a.dtype == ScalarType.Float32 && b.dtype == ScalarType.Float32 && a.device_type == DeviceType.CPU
            && a.is_contiguous() && b.is_contiguous() && a.numel() == b.numel())
        {
            return TensorMemory.Inner(a, b);
        }

        double sum = 0;
        for (long first = 0; first < a.shape[0]; first += InnerRows)
        {
            using var scope = NewDisposeScope();
            long count = Math.Min(InnerRows, a.shape[0] - first);
            sum += (a.narrow(0, first, count) * b.narrow(0, first, count)).sum(float64).ToNumber();
        }

        return sum;
    }

    /// <summary>Sets a to zero where the mask is set.</summary>
    public static Tensor ClearInPlace(this Tensor a, Tensor mask) => a.masked_fill_(mask, Zero);
}
