using Armor.Onnx.Running;
using Armor.Runtime.Checkpoints;

namespace Armor.Onnx.Export;

/// <summary>How a checkpoint is exported.</summary>
public sealed record OnnxExportOptions
{
    /// <summary>
    /// The type in which weights are stored: float32, or float16 or bfloat16, which halve the file and are cast to float32 by a node each (ONNX Runtime does
    /// that once, when it loads the model). The graph computes in float32, norms and biases are stored in it.
    /// </summary>
    public TensorElementType Storage { get; init; } = TensorElementType.Float32;

    /// <summary>How sparse cores are stored.</summary>
    public SparseCoreFormat CoreFormat { get; init; }

    /// <summary>Whether weights go to a file beside the model, <c>model.onnx.data</c>; beyond 1.9 GB they do anyway.</summary>
    public bool ExternalData { get; init; }

    /// <summary>
    /// Whether the result is held against the model in TorchSharp before it takes its name: logits of a prefill, and of further tokens one by one
    /// through the cache.
    /// </summary>
    public bool Verify { get; init; } = true;

    /// <summary>The largest difference of two logits that verification lets pass.</summary>
    public double Tolerance { get; init; } = 1e-3;

    /// <summary>How verification runs the result.</summary>
    public OnnxRuntimeOptions Runtime { get; init; } = new();

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        if (Storage is not (TensorElementType.Float32 or TensorElementType.Float16 or TensorElementType.BFloat16))
        {
            violations.Add($"{nameof(Storage)} must be Float32, Float16 or BFloat16; found {Storage}.");
        }

        if (!Enum.IsDefined(CoreFormat))
        {
            violations.Add($"{nameof(CoreFormat)} must be Dense or SparseInitializer; found {CoreFormat}.");
        }

        if (!(Tolerance > 0))
        {
            violations.Add($"{nameof(Tolerance)} must be above 0; found {Tolerance}.");
        }

        try
        {
            ArgumentNullException.ThrowIfNull(Runtime);
            Runtime.Validate();
        }
        catch (ArgumentException exception)
        {
            violations.Add(exception.Message);
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException("The export's options are not valid:" + Environment.NewLine + string.Join(Environment.NewLine, violations));
        }
    }
}
