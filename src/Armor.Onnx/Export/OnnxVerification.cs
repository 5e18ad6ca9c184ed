namespace Armor.Onnx.Export;

/// <summary>How far the logits of an ONNX decoder are from those of the model in TorchSharp.</summary>
/// <param name="Prefill">The largest difference of two logits where all tokens come at once.</param>
/// <param name="Decode">The largest difference where tokens come one by one, through the cache of keys and values.</param>
/// <param name="Positions">How many positions were compared, in all.</param>
public sealed record OnnxVerification(double Prefill, double Decode, int Positions)
{
    /// <summary>The larger of both.</summary>
    public double Largest => Math.Max(Prefill, Decode);
}
