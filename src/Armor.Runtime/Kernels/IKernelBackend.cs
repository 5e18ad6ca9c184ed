using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels;

/// <summary>
/// Prepares weights to be multiplied by: each weight is packed once, in the form that the backend multiplies by fastest, and then used for as long as
/// the model lives. A backend says what it can do and never falls back silently: what it does not support it refuses. Safe for use from several
/// threads. Dispose of it after its weights.
/// </summary>
public interface IKernelBackend : IDisposable
{
    /// <summary>The backend's name, for reports.</summary>
    string Name { get; }

    /// <summary>Whether the backend can multiply by a weight of this kind, shape and type.</summary>
    /// <param name="operation">The kind.</param>
    /// <param name="shape">The sizes.</param>
    /// <param name="elementType">The type in which the weight's values are held; of a layer, those of its wrappers.</param>
    KernelSupport Supports(KernelOperation operation, KernelShape shape, TensorElementType elementType);

    /// <summary>Packs a dense weight: y = W·x.</summary>
    /// <param name="source">[d_out, d_in]; read from several threads at once, and not after this method has returned.</param>
    /// <param name="elementType">
    /// The type in which values are held; to a narrower type than the source's they are rounded. Int8 makes whole numbers with a scale for each 256 columns
    /// of a row, chosen by the squared error that it leaves.
    /// </param>
    /// <param name="cancellationToken">Checked while packing.</param>
    /// <exception cref="NotSupportedException">The backend does not support it; says why.</exception>
    /// <exception cref="ArgumentException">A value that Int8 was asked for is not finite; names its row and column.</exception>
    KernelWeight PrepareDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken = default);

    /// <summary>Packs a factorised weight: y = A·(S·(B·x)), or y = S·x where both wrappers are the identity.</summary>
    /// <param name="layer">[d_out, d_in]; not used after this method has returned: what is needed of it is copied, as its memory is used again.</param>
    /// <param name="elementType">
    /// The type in which values are held; to a narrower type they are rounded. The values of a quantised core stay what they are.
    /// </param>
    /// <param name="wrapperType">
    /// The type in which the wrappers' values are held where it is another one. Int8 makes whole numbers with a scale for each 128 columns of a block's row,
    /// chosen by the squared error that it leaves, but for the diagonal, which stays as it is.
    /// </param>
    /// <param name="cancellationToken">Checked while packing.</param>
    /// <exception cref="NotSupportedException">The backend does not support it; says why.</exception>
    /// <exception cref="ArgumentException">A wrapper's value that Int8 was asked for is not finite; names its row and column.</exception>
    KernelWeight PrepareLayer(
        ArmorLayer layer, TensorElementType elementType, TensorElementType? wrapperType = null, CancellationToken cancellationToken = default);
}
