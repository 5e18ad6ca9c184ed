namespace Armor.Runtime.Checkpoints;

/// <summary>Name, element type and shape of a stored tensor. Tensors are row-major.</summary>
public sealed record TensorDescription
{
    private readonly long[] _shape;

    /// <summary>Describes a tensor.</summary>
    /// <param name="name">The tensor's name, such as <c>model.layers.0.self_attn.q_proj.weight</c>.</param>
    /// <param name="elementType">The stored type.</param>
    /// <param name="shape">The dimensions, outermost first; empty for a scalar.</param>
    /// <exception cref="ArgumentException">A dimension is negative, or the size in bytes exceeds 2⁶³ − 1.</exception>
    public TensorDescription(string name, TensorElementType elementType, IReadOnlyList<long> shape)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(shape);
        _shape = [.. shape];
        if (!TryCount(_shape, elementType.ByteSize(), out var elements))
        {
            throw new ArgumentException(
                $"Tensor '{name}': the shape [{string.Join(", ", _shape)}] has a negative dimension or more than 2^63 - 1 bytes.", nameof(shape));
        }

        Name = name;
        ElementType = elementType;
        ElementCount = elements;
    }

    /// <summary>The tensor's name.</summary>
    public string Name { get; }

    /// <summary>The stored type.</summary>
    public TensorElementType ElementType { get; }

    /// <summary>The dimensions, outermost first; empty for a scalar.</summary>
    public IReadOnlyList<long> Shape => _shape;

    /// <summary>The number of elements: the product of the dimensions, 1 for a scalar.</summary>
    public long ElementCount { get; }

    /// <summary>The size in bytes.</summary>
    public long ByteCount => ElementCount * ElementType.ByteSize();

    /// <summary>Equal name, type and dimensions.</summary>
    public bool Equals(TensorDescription? other)
        => other is not null && Name == other.Name && ElementType == other.ElementType && _shape.AsSpan().SequenceEqual(other._shape);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Name, ElementType, _shape.Length, ElementCount);

    /// <summary>Such as <c>lm_head.weight: BF16 [32000, 4096]</c>.</summary>
    public override string ToString() => $"{Name}: {ElementType.SafetensorsName()} {ShapeText}";

    internal string ShapeText => FormatShape(_shape);

    internal static string FormatShape(IEnumerable<long> shape) => $"[{string.Join(", ", shape)}]";

    /// <summary>The product of the dimensions, unless one is negative or the size in bytes would not fit a signed 64-bit integer.</summary>
    internal static bool TryCount(ReadOnlySpan<long> shape, int elementSize, out long elements)
    {
        elements = 1;
        var anyZero = false;
        foreach (var dimension in shape)
        {
            if (dimension < 0)
            {
                return false;
            }

            anyZero |= dimension == 0;
        }

        if (anyZero)
        {
            elements = 0;
            return true;
        }

        foreach (var dimension in shape)
        {
            if (elements > long.MaxValue / elementSize / dimension)
            {
                return false;
            }

            elements *= dimension;
        }

        return true;
    }
}
