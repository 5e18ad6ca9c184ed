namespace Armor.Runtime.Checkpoints;

/// <summary>The element types of safetensors files.</summary>
public enum TensorElementType
{
    /// <summary>IEEE 754 single precision (<c>F32</c>).</summary>
    Float32,

    /// <summary>IEEE 754 half precision (<c>F16</c>).</summary>
    Float16,

    /// <summary>The upper half of a single (<c>BF16</c>).</summary>
    BFloat16,

    /// <summary>Unsigned bytes (<c>U8</c>).</summary>
    UInt8,

    /// <summary>Signed 64-bit integers (<c>I64</c>).</summary>
    Int64,
}
