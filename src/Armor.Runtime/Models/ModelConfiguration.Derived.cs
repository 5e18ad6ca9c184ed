using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Models;

/// <summary>What follows from the family and the sizes, so that both forward passes read it in one place.</summary>
public sealed partial record ModelConfiguration
{
    /// <summary>Query heads × head size: the rows of <c>q_proj</c> and the columns of <c>o_proj</c>.</summary>
    public int QuerySize => AttentionHeadCount * HeadSize;

    /// <summary>Key/value heads × head size: the rows of <c>k_proj</c> and of <c>v_proj</c>.</summary>
    public int KeyValueSize => KeyValueHeadCount * HeadSize;

    /// <summary>How many elements of a head are rotated, its first ones.</summary>
    public int RotarySize => PartialRotarySize ?? HeadSize;

    /// <summary>What q·k is multiplied by.</summary>
    public double AttentionScale => 1 / Math.Sqrt(QueryScalar ?? HeadSize);

    /// <summary>The function of the MLP's gate.</summary>
    public ActivationFunction Activation => IsGemma ? ActivationFunction.GeluTanh : ActivationFunction.Silu;

    /// <summary>True where norms multiply by 1 + weight instead of the weight.</summary>
    public bool HasUnitOffsetNorms => IsGemma;

    /// <summary>True where what attention and the MLP add to the residual stream goes through a norm first.</summary>
    public bool HasOutputNorms => IsGemma;

    /// <summary>True where q, k and v are one tensor of the checkpoint, and gate and up another.</summary>
    public bool HasFusedProjections => Family == ModelFamily.Phi3;

    /// <summary>
    /// What embedded tokens are multiplied by: 1, or Gemma's √hidden, rounded to <see cref="StoredType"/> as it was in training.
    /// </summary>
    public float EmbeddingScale => IsGemma ? Rounded(MathF.Sqrt(HiddenSize)) : 1;

    private bool IsGemma => Family is ModelFamily.Gemma2 or ModelFamily.Gemma3;

    /// <summary>The window of one layer: number of latest positions that a query of it sees, or null for all.</summary>
    /// <param name="layer">Index of the layer, from 0.</param>
    public int? SlidingWindowOf(int layer) => layer >= FirstSlidingLayer && (layer + 1) % (FullAttentionPeriod ?? int.MaxValue) != 0 ? SlidingWindow : null;

    /// <summary>Whether a layer rotates by <see cref="LocalRopeTheta"/>.</summary>
    /// <param name="layer">Index of the layer, from 0.</param>
    public bool HasLocalRotation(int layer) => LocalRopeTheta is not null && SlidingWindowOf(layer) is not null;

    /// <summary>
    /// Whether a sequence is rotated by LongRoPE's table for long ones. The table holds for all its positions: where a growing sequence passes
    /// the original context, keys computed before are no longer valid.
    /// </summary>
    /// <param name="length">Number of tokens.</param>
    public bool HasLongRotation(long length) => RopeScaling is { Kind: RopeScalingKind.LongRope } scaling && length > scaling.OriginalContextLength;

    /// <summary>A rotation of the model.</summary>
    /// <param name="isLocal">See <see cref="HasLocalRotation"/>.</param>
    /// <param name="isLong">See <see cref="HasLongRotation"/>.</param>
    public Rotation GetRotation(bool isLocal, bool isLong)
    {
        var scaling = isLocal ? null : RopeScaling;
        var theta = isLocal && LocalRopeTheta is { } local ? local : RopeTheta;
        return new Rotation(Models.RopeScaling.Frequencies(theta, RotarySize, scaling, isLong), scaling?.Magnitude ?? 1);
    }

    private float Rounded(float value)
    {
        Span<byte> stored = stackalloc byte[sizeof(double)];
        Span<float> rounded = [value];
        if (StoredType is { } type)
        {
            FloatConversion.FromFloat32(type, rounded, stored[..type.ByteSize()]);
            FloatConversion.ToFloat32(type, stored[..type.ByteSize()], rounded);
        }

        return rounded[0];
    }
}
