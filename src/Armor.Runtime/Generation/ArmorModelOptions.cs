using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Generation;

/// <summary>How a model is loaded and run.</summary>
public sealed record ArmorModelOptions
{
    /// <summary>What multiplies by the weights; stays the caller's, and may be shared by several models.</summary>
    /// <value>The default, null, is a <see cref="CpuBackend"/> of the model's own with its default options.</value>
    public IKernelBackend? Backend { get; init; }

    /// <summary>The type in which the weights are held: float32, bfloat16 or float16.</summary>
    /// <value>The default, null, is the type in which each is stored (float32 for float64), so that nothing is rounded.</value>
    public TensorElementType? WeightType { get; init; }

    /// <summary>
    /// The type in which the head is held, which no pruning makes smaller: float32, bfloat16, float16 or int8. Int8 means whole numbers with a scale for each
    /// 256 columns of a row; it halves a bfloat16 head, and a token reads it whole. Where the head shares the embedding's weight and would be held in another
    /// type, the rows that tokens look up stay as they are stored: they are read from their file, which stays open as long as the model.
    /// </summary>
    /// <value>The default, null, is <see cref="WeightType"/>, or else the type in which the head is stored.</value>
    /// <remarks>
    /// Such a row that cannot be read any more, because the file has become shorter or its disk is gone, is a <see cref="CheckpointException"/> of the
    /// method that computes logits.
    /// </remarks>
    public TensorElementType? HeadType { get; init; }

    /// <summary>
    /// The type in which the wrappers of pruned linears are held: float32, bfloat16, float16 or int8. Int8 means whole numbers with a scale for each 128 columns
    /// of a block's row, but for the diagonal. Wrappers are little of a large model's bytes in bfloat16 and more beside a core in 8 bits: see docs/generation.md.
    /// </summary>
    /// <value>The default, null, is <see cref="WeightType"/>, or else the type in which they are stored. Without effect on a dense model.</value>
    public TensorElementType? WrapperType { get; init; }

    /// <summary>
    /// The type of the keys and values that sessions keep: float32, or float16 for half the memory and logits that differ in their third digit after the
    /// point.
    /// </summary>
    /// <value>The default is float32.</value>
    public TensorElementType CacheType { get; init; } = TensorElementType.Float32;

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more options are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        if (WeightType is not (null or TensorElementType.Float32 or TensorElementType.BFloat16 or TensorElementType.Float16))
        {
            violations.Add($"WeightType must be Float32, BFloat16 or Float16; found {WeightType}.");
        }

        if (HeadType is not (null or TensorElementType.Float32 or TensorElementType.BFloat16 or TensorElementType.Float16 or TensorElementType.Int8))
        {
            violations.Add($"HeadType must be Float32, BFloat16, Float16 or Int8; found {HeadType}.");
        }

        if (WrapperType is not (null or TensorElementType.Float32 or TensorElementType.BFloat16 or TensorElementType.Float16 or TensorElementType.Int8))
        {
            violations.Add($"WrapperType must be Float32, BFloat16, Float16 or Int8; found {WrapperType}.");
        }

        if (CacheType is not (TensorElementType.Float32 or TensorElementType.Float16))
        {
            violations.Add($"CacheType must be Float32 or Float16; found {CacheType}.");
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(' ', violations));
        }
    }
}
