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
    /// <param name="type">F32, F16, BF16 or F64.</param>
    public BlockDiagonalMatrix RoundedTo(TensorElementType type)
        => type == TensorElementType.Float32 ? this : CopiedTo(type);

    /// <summary>As of <see cref="RoundedTo"/>, in memory of its own.</summary>
    internal BlockDiagonalMatrix CopiedTo(TensorElementType type) => new(BlockCount, BlockSize, FloatConversion.Rounded(type, _values));
}
