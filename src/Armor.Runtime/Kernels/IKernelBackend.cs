using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels;

/// <summary>
/// Multiplies batches of inputs by weights. A backend says what it can do and never falls back silently: what it does not support it refuses.
/// Each input of a batch is multiplied by itself, so results do not depend on the batch. Safe for use from several threads.
/// </summary>
public interface IKernelBackend
{
    /// <summary>The backend's name, for reports.</summary>
    string Name { get; }

    /// <summary>Whether the backend can multiply by a weight of this kind, shape and type.</summary>
    /// <param name="operation">The kind.</param>
    /// <param name="shape">The sizes.</param>
    /// <param name="elementType">The type in which the weight's values are held.</param>
    KernelSupport Supports(KernelOperation operation, KernelShape shape, TensorElementType elementType);

    /// <summary>Multiplies by a factorised layer: y = A·(S·(B·x)).</summary>
    /// <param name="layer">[d_out, d_in].</param>
    /// <param name="input">[batch, d_in], row-major.</param>
    /// <param name="batch">The number of inputs.</param>
    /// <param name="output">[batch, d_out], row-major; must not overlap the input.</param>
    /// <exception cref="ArgumentException">A length does not agree with the layer and the batch, or input and output overlap.</exception>
    /// <exception cref="NotSupportedException">The backend does not support the shape.</exception>
    void Multiply(ArmorLayer layer, ReadOnlySpan<float> input, int batch, Span<float> output);

    /// <summary>Multiplies by a plain sparse core: y = S·x.</summary>
    /// <param name="core">[d_out, d_in].</param>
    /// <param name="input">[batch, d_in], row-major.</param>
    /// <param name="batch">The number of inputs.</param>
    /// <param name="output">[batch, d_out], row-major; must not overlap the input.</param>
    /// <exception cref="ArgumentException">A length does not agree with the core and the batch, or input and output overlap.</exception>
    /// <exception cref="NotSupportedException">The backend does not support the shape.</exception>
    void Multiply(SparseCore core, ReadOnlySpan<float> input, int batch, Span<float> output);

    /// <summary>Multiplies by a block-diagonal wrapper: y = B·x.</summary>
    /// <param name="matrix">[d, d].</param>
    /// <param name="input">[batch, d], row-major.</param>
    /// <param name="batch">The number of inputs.</param>
    /// <param name="output">[batch, d], row-major; must not overlap the input.</param>
    /// <exception cref="ArgumentException">A length does not agree with the matrix and the batch, or input and output overlap.</exception>
    /// <exception cref="NotSupportedException">The backend does not support the shape.</exception>
    void Multiply(BlockDiagonalMatrix matrix, ReadOnlySpan<float> input, int batch, Span<float> output);

    /// <summary>Multiplies by a dense weight: y = W·x.</summary>
    /// <param name="weight">[d_out, d_in], row-major.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    /// <param name="input">[batch, d_in], row-major.</param>
    /// <param name="batch">The number of inputs.</param>
    /// <param name="output">[batch, d_out], row-major; must not overlap input or weight.</param>
    /// <exception cref="ArgumentException">A length does not agree with the sizes, or the output overlaps what is read.</exception>
    /// <exception cref="NotSupportedException">The backend does not support the shape.</exception>
    void MultiplyDense(ReadOnlySpan<float> weight, int rows, int columns, ReadOnlySpan<float> input, int batch, Span<float> output);
}
