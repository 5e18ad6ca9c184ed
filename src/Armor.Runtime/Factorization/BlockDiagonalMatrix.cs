using System.Buffers;
using Armor.Runtime.Checkpoints;

namespace Armor.Runtime.Factorization;

/// <summary>A square matrix of equal square blocks along the diagonal and zeros elsewhere: a wrapper, A or B. Immutable.</summary>
public sealed class BlockDiagonalMatrix
{
    private readonly float[] _values;

    /// <summary>Wraps the blocks' values.</summary>
    /// <param name="blockCount">The number of blocks.</param>
    /// <param name="blockSize">Rows, and columns, of one block.</param>
    /// <param name="values">[blockCount, blockSize, blockSize], row-major. Taken over without a copy: do not change it afterwards.</param>
    /// <exception cref="ArgumentException">A size is not positive, or the array has another length.</exception>
    public BlockDiagonalMatrix(int blockCount, int blockSize, float[] values)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockCount);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockSize);
        ArgumentNullException.ThrowIfNull(values);
        if ((long)blockCount * blockSize > int.MaxValue)
        {
            throw new ArgumentException($"{blockCount} blocks of {blockSize} make more than {int.MaxValue} rows.", nameof(blockCount));
        }

        if (values.Length != (decimal)blockCount * blockSize * blockSize)
        {
            throw new ArgumentException(
                $"{blockCount} blocks of {blockSize}×{blockSize} need {(decimal)blockCount * blockSize * blockSize} values, not {values.Length}.", nameof(values));
        }

        BlockCount = blockCount;
        BlockSize = blockSize;
        _values = values;
    }

    /// <summary>The number of blocks.</summary>
    public int BlockCount { get; }

    /// <summary>Rows, and columns, of one block.</summary>
    public int BlockSize { get; }

    /// <summary>Rows, and columns, of the whole matrix.</summary>
    public int Size => BlockCount * BlockSize;

    /// <summary>[blocks, b, b], row-major.</summary>
    public ReadOnlyMemory<float> Values => _values;

    /// <summary>The identity.</summary>
    /// <param name="blockCount">The number of blocks.</param>
    /// <param name="blockSize">Rows, and columns, of one block.</param>
    /// <exception cref="ArgumentException">A size is not positive.</exception>
    public static BlockDiagonalMatrix Identity(int blockCount, int blockSize)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockCount);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blockSize);
        var values = new float[checked(blockCount * blockSize * blockSize)];
        for (var row = 0; row < blockCount * blockSize; row++)
        {
            values[(row * blockSize) + (row % blockSize)] = 1;
        }

        return new BlockDiagonalMatrix(blockCount, blockSize, values);
    }

    /// <summary>One block, [b, b], row-major.</summary>
    /// <param name="index">From 0.</param>
    public ReadOnlySpan<float> Block(int index)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, BlockCount);
        return _values.AsSpan(index * BlockSize * BlockSize, BlockSize * BlockSize);
    }

    /// <summary>The matrix as it is after storing its values in a type and reading them back.</summary>
    /// <param name="type">
    /// F32, F16, BF16, F64, or I8: whole numbers from −127 to 127 times a bfloat16 that each 128 columns of a block's row share, but for the diagonal, which stays
    /// as it is. The runtime can hold wrappers so.
    /// </param>
    /// <exception cref="ArgumentException">A value for I8 is not finite.</exception>
    public BlockDiagonalMatrix RoundedTo(TensorElementType type)
        => type == TensorElementType.Float32 ? this : CopiedTo(type);

    /// <summary>As of <see cref="RoundedTo"/>, in memory of its own.</summary>
    internal BlockDiagonalMatrix CopiedTo(TensorElementType type)
        => new(BlockCount, BlockSize, type == TensorElementType.Int8 ? RoundedToInt8() : FloatConversion.Rounded(type, _values));

    /// <summary>Refuses what has no 8 bits.</summary>
    /// <exception cref="ArgumentException">A value is not finite; names it.</exception>
    internal void RequireFinite()
    {
        if (FloatConversion.IndexOfNonFinite(_values) is >= 0 and var index)
        {
            var row = index / BlockSize;
            var column = (row / BlockSize * BlockSize) + (index % BlockSize);
            throw new ArgumentException(FormattableString.Invariant(
                $"Row {row}, column {column} of a wrapper is {_values[index]}: only finite values have 8 bits."));
        }
    }

    /// <summary>Rounds a row of a block but for its diagonal.</summary>
    /// <param name="row">Counted over all blocks.</param>
    /// <param name="whole">[b], zero at the diagonal.</param>
    /// <param name="scales">One for each 128 columns.</param>
    /// <returns>The diagonal.</returns>
    internal float RoundRow(int row, Span<sbyte> whole, Span<float> scales)
    {
        var rented = ArrayPool<float>.Shared.Rent(BlockSize);
        var values = rented.AsSpan(0, BlockSize);
        _values.AsSpan(row * BlockSize, BlockSize).CopyTo(values);
        var diagonal = values[row % BlockSize];
        values[row % BlockSize] = 0;
        Int8Rounding.RoundRow(values, Int8Values.WrapperGroupColumns, whole, scales);
        ArrayPool<float>.Shared.Return(rented);
        return diagonal;
    }

    private float[] RoundedToInt8()
    {
        RequireFinite();
        var rounded = new float[_values.Length];
        var whole = new sbyte[BlockSize];
        var scales = new float[(BlockSize + Int8Values.WrapperGroupColumns - 1) / Int8Values.WrapperGroupColumns];
        for (var row = 0; row < Size; row++)
        {
            var diagonal = RoundRow(row, whole, scales);
            var own = rounded.AsSpan(row * BlockSize, BlockSize);
            for (var column = 0; column < BlockSize; column++)
            {
                own[column] = whole[column] * scales[column / Int8Values.WrapperGroupColumns];
            }

            own[row % BlockSize] = diagonal;
        }

        return rounded;
    }
}
