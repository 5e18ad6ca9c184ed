namespace Armor.Onnx.Running;

/// <summary>Where ONNX Runtime computes.</summary>
public enum OnnxExecutionProvider
{
    /// <summary>The CPU; every native package of ONNX Runtime has it.</summary>
    Cpu,

    /// <summary>CUDA, and the CPU for what it cannot do. Needs <c>Microsoft.ML.OnnxRuntime.Gpu</c> and CUDA's libraries.</summary>
    Cuda,

    /// <summary>TensorRT, then CUDA, then the CPU. Needs <c>Microsoft.ML.OnnxRuntime.Gpu</c>, CUDA's and TensorRT's libraries.</summary>
    TensorRt,
}
