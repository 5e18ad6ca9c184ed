using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels;

/// <summary>What backends have in common: the public methods check support, the hooks of a derived class do the work.</summary>
public abstract class KernelBackend : IKernelBackend
{
    /// <inheritdoc/>
    public abstract string Name { get; }

    /// <summary>
    /// Whether dense weights can be held as Int8: whole numbers from −127 to 127, each group of 256 columns of a row with a scale in bfloat16, as in a
    /// quantised core. False unless a derived class says otherwise.
    /// </summary>
    protected virtual bool HoldsDenseInt8 => false;

    /// <summary>
    /// Whether wrappers can be held in another type than their core, Int8 among them. False unless a derived class says otherwise.
    /// </summary>
    protected virtual bool HoldsWrappersApart => false;

    /// <inheritdoc/>
    public virtual KernelSupport Supports(KernelOperation operation, KernelShape shape, TensorElementType elementType)
    {
        if (!Enum.IsDefined(operation))
        {
            return KernelSupport.Unsupported($"{Name} knows no operation {operation}.");
        }

        if (elementType == TensorElementType.Int8 && operation != KernelOperation.Dense)
        {
            return KernelSupport.Unsupported("A layer is held in 8 bits where its core is quantised, whatever type is asked for: ask for that of its wrappers.");
        }

        var hasType = elementType is TensorElementType.Float32 or TensorElementType.BFloat16 or TensorElementType.Float16;
        if (!hasType && !(HoldsDenseInt8 && elementType == TensorElementType.Int8))
        {
            var int8 = HoldsDenseInt8 ? ", dense ones as Int8 too" : string.Empty;
            return KernelSupport.Unsupported($"{Name} multiplies by weights held as Float32, BFloat16 or Float16{int8}, not as {elementType}.");
        }

        if (shape.Rows < 1 || shape.Columns < 1 || shape.OutputBlock < 1 || shape.InputBlock < 1)
        {
            return KernelSupport.Unsupported($"{shape} has a size below one.");
        }

        return operation switch
        {
            KernelOperation.SparseCore or KernelOperation.Armor when shape.Columns % shape.Pattern.Group != 0
                => KernelSupport.Unsupported($"A {shape.Pattern} matrix has a multiple of {shape.Pattern.Group} columns, not {shape.Columns}."),
            KernelOperation.Armor when shape.Rows % shape.OutputBlock != 0 || shape.Columns % shape.InputBlock != 0
                => KernelSupport.Unsupported($"{shape} is not of whole blocks."),
            _ => KernelSupport.Supported,
        };
    }

    /// <inheritdoc/>
    public KernelWeight PrepareDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        Require(KernelOperation.Dense, new KernelShape(source.Rows, source.Columns), elementType);
        return PackDense(source, elementType, cancellationToken);
    }

    /// <inheritdoc/>
    public KernelWeight PrepareLayer(
        ArmorLayer layer, TensorElementType elementType, TensorElementType? wrapperType = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(layer);
        var operation = OperationOf(layer);
        Require(operation, KernelShape.Of(layer), elementType);
        var ofWrappers = wrapperType ?? elementType;
        if (ofWrappers != elementType && !HoldsWrappersApart)
        {
            throw new NotSupportedException($"{Name} holds wrappers in the type of their core, {elementType}, not as {ofWrappers}.");
        }

        if (ofWrappers is not (TensorElementType.Float32 or TensorElementType.BFloat16 or TensorElementType.Float16 or TensorElementType.Int8))
        {
            throw new NotSupportedException($"{Name} holds wrappers as Float32, BFloat16, Float16 or Int8, not as {ofWrappers}.");
        }

        return PackLayer(layer, elementType, ofWrappers, cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>What a layer is: a plain core where both wrappers are the identity.</summary>
    /// <param name="layer">[d_out, d_in].</param>
    protected static KernelOperation OperationOf(ArmorLayer layer)
    {
        ArgumentNullException.ThrowIfNull(layer);
        return layer.OutputWrapper is null && layer.InputWrapper is null ? KernelOperation.SparseCore : KernelOperation.Armor;
    }

    /// <summary>Packs a dense weight; it is supported.</summary>
    /// <param name="source">[d_out, d_in].</param>
    /// <param name="elementType">The type in which values are held.</param>
    /// <param name="cancellationToken">To be checked while packing.</param>
    protected abstract KernelWeight PackDense(DenseWeightSource source, TensorElementType elementType, CancellationToken cancellationToken);

    /// <summary>Packs a factorised weight; it is supported.</summary>
    /// <param name="layer">[d_out, d_in].</param>
    /// <param name="elementType">The type in which values are held.</param>
    /// <param name="wrapperType">The type in which the wrappers' are; another one only where <see cref="HoldsWrappersApart"/>.</param>
    /// <param name="cancellationToken">To be checked while packing.</param>
    protected abstract KernelWeight PackLayer(
        ArmorLayer layer, TensorElementType elementType, TensorElementType wrapperType, CancellationToken cancellationToken);

    /// <summary>Gives back what the backend holds.</summary>
    /// <param name="disposing">Whether <see cref="Dispose()"/> was called.</param>
    protected virtual void Dispose(bool disposing)
    {
    }

    private void Require(KernelOperation operation, KernelShape shape, TensorElementType elementType)
    {
        var support = Supports(operation, shape, elementType);
        if (!support.IsSupported)
        {
            throw new NotSupportedException(support.Reason);
        }
    }
}
