using System.Runtime.Intrinsics;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>Makes packed matrices for an instruction set and a stored type.</summary>
internal static class PackedMatrices
{
    /// <summary>A dense weight.</summary>
    public static PackedMatrix Pack(DenseWeightSource source, TensorElementType type, InstructionSet set, ParallelOptions options)
        => type == TensorElementType.Int8
            ? Filled(CreateInt8<RowForm>(1, source.Rows, source.Columns, set), matrix => TilePacker.PackDense(matrix, source, options))
            : Filled(Create<RowForm>(1, source.Rows, source.Columns, type, set), matrix => TilePacker.PackDense(matrix, source, options));

    /// <summary>A 2:4 core; a quantised one stays so whatever the type.</summary>
    public static PackedMatrix Pack(SparseCore core, TensorElementType type, InstructionSet set, ParallelOptions options)
        => core.IsQuantised
            ? Filled(CreateInt8Core(core.Rows, core.Columns, set), matrix => TilePacker.PackQuantised(matrix, core, options))
            : Filled(Create<PairForm>(1, core.Rows, core.Columns, type, set), matrix => TilePacker.PackCore(matrix, core, options));

    /// <summary>A wrapper.</summary>
    public static PackedMatrix Pack(BlockDiagonalMatrix wrapper, TensorElementType type, InstructionSet set, ParallelOptions options)
        => Filled(
            type == TensorElementType.Int8
                ? CreateInt8<ColumnForm>(wrapper.BlockCount, wrapper.BlockSize, wrapper.BlockSize, set)
                : Create<ColumnForm>(wrapper.BlockCount, wrapper.BlockSize, wrapper.BlockSize, type, set),
            matrix => TilePacker.PackBlocks(matrix, wrapper, options));

    private static PackedMatrix Filled(PackedMatrix matrix, Action<PackedMatrix> fill)
    {
        try
        {
            fill(matrix);
            return matrix;
        }
        catch
        {
            matrix.Dispose();
            throw;
        }
    }

    private static PackedMatrix CreateInt8<TForm>(int blocks, int rows, int columns, InstructionSet set)
        where TForm : ITileForm
        => set switch
        {
            InstructionSet.Avx512 => Make<DenseInt8Kernels<Vector512<float>, Vectors512, TForm>, Int16Inputs>(blocks, rows, columns, TensorElementType.Int8),
            InstructionSet.Avx2 => Make<DenseInt8Kernels<Vector256<float>, Vectors256, TForm>, Int16Inputs>(blocks, rows, columns, TensorElementType.Int8),
            _ => Make<DenseInt8Kernels<Vector128<float>, Vectors128, TForm>, Int16Inputs>(blocks, rows, columns, TensorElementType.Int8),
        };

    private static PackedMatrix CreateInt8Core(int rows, int columns, InstructionSet set)
        => set switch
        {
            InstructionSet.Avx512 => Make<Int8Kernels<Vector512<float>, Vectors512>, Int16Inputs>(1, rows, columns, TensorElementType.Int8),
            InstructionSet.Avx2 => Make<Int8Kernels<Vector256<float>, Vectors256>, Int16Inputs>(1, rows, columns, TensorElementType.Int8),
            _ => Make<Int8Kernels<Vector128<float>, Vectors128>, Int16Inputs>(1, rows, columns, TensorElementType.Int8),
        };

    private static PackedMatrix Create<TForm>(int blocks, int rows, int columns, TensorElementType type, InstructionSet set)
        where TForm : ITileForm
        => set switch
        {
            InstructionSet.Avx512 => Create<Vector512<float>, Vectors512, TForm>(blocks, rows, columns, type),
            InstructionSet.Avx2 => Create<Vector256<float>, Vectors256, TForm>(blocks, rows, columns, type),
            _ => Create<Vector128<float>, Vectors128, TForm>(blocks, rows, columns, type),
        };

    private static PackedMatrix Create<TVector, TVectors, TForm>(int blocks, int rows, int columns, TensorElementType type)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>
        where TForm : ITileForm
        => type switch
        {
            TensorElementType.Float32 => Make<FloatKernels<TVector, TVectors, Float32Values, TForm>, Float32Inputs>(blocks, rows, columns, type),
            TensorElementType.BFloat16 => Make<FloatKernels<TVector, TVectors, BFloat16Values, TForm>, Float32Inputs>(blocks, rows, columns, type),
            TensorElementType.Float16 => Make<FloatKernels<TVector, TVectors, Float16Values, TForm>, Float32Inputs>(blocks, rows, columns, type),
            _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Values are not held in this type."),
        };

    private static TiledMatrix<TKernels, TInputs> Make<TKernels, TInputs>(int blocks, int rows, int columns, TensorElementType type)
        where TKernels : ITileKernels
        where TInputs : IInputPacking
        => new(new TileLayout(TKernels.Shape, blocks, rows, columns, type));
}
