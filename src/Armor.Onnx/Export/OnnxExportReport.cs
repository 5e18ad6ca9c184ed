namespace Armor.Onnx.Export;

/// <summary>What an export came to.</summary>
/// <param name="Linears">Linears in the graph, the head among them where it is not tied.</param>
/// <param name="Bytes">Bytes of the model and its external data.</param>
/// <param name="Seconds">Wall time, verification included.</param>
/// <param name="Verification">How far the logits are from TorchSharp's; null where it was not asked for.</param>
public sealed record OnnxExportReport(int Linears, long Bytes, double Seconds, OnnxVerification? Verification);
