namespace Armor.Onnx;

/// <summary>How a sparse core is stored in an ONNX file, which has no 2:4 format.</summary>
public enum SparseCoreFormat
{
    /// <summary>As an ordinary tensor that holds the zeros: what TensorRT looks for, and what every engine reads.</summary>
    Dense,

    /// <summary>
    /// As a <c>sparse_initializer</c>, its kept values with the place of each as a 64-bit number, which ONNX Runtime makes dense when it loads the model.
    /// Larger than <see cref="Dense"/>: for tools that look for it.
    /// </summary>
    SparseInitializer,
}
