using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Armor.Runtime.Kernels.Cpu.Tiles;

/// <summary>
/// What a tile's four vectors of values stand for. A tile is multiplied in steps; each step reads four vectors of values and what they are multiplied
/// by, and adds to four vectors of sums.
/// </summary>
internal unsafe interface ITileForm
{
    /// <summary>Whether the input's lanes are picked by two-bit codes, of sixteen steps in each lane of the four vectors before them.</summary>
    static abstract bool HasCodes { get; }

    /// <summary>Rows of a tile.</summary>
    /// <param name="width">Lanes of a vector.</param>
    static abstract int RowsOf(int width);

    /// <summary>From sums to results.</summary>
    /// <param name="sums">The first of the tile's four vectors.</param>
    /// <param name="stride">From one of them to the next, in float32.</param>
    /// <param name="output">As many as the tile has rows.</param>
    static abstract void Finish<TVector, TVectors>(float* sums, int stride, float* output)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>;
}

/// <summary>
/// A 2:4 core: 8 rows, a pair of them a vector. Each 128-bit part is a group of four columns: [first row's two values, second row's two values].
/// </summary>
internal readonly unsafe struct PairForm : ITileForm
{
    public static bool HasCodes => true;

    public static int RowsOf(int width) => 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Finish<TVector, TVectors>(float* sums, int stride, float* output)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>
    {
        for (var pair = 0; pair < 4; pair++)
        {
            var folded = TVectors.Fold(TVectors.Load(sums + (pair * stride)));
            output[2 * pair] = folded[0] + folded[1];
            output[(2 * pair) + 1] = folded[2] + folded[3];
        }
    }
}

/// <summary>A dense weight: 4 rows, each a vector.</summary>
internal readonly unsafe struct RowForm : ITileForm
{
    public static bool HasCodes => false;

    public static int RowsOf(int width) => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Finish<TVector, TVectors>(float* sums, int stride, float* output)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>
    {
        for (var row = 0; row < 4; row++)
        {
            var folded = TVectors.Fold(TVectors.Load(sums + (row * stride)));
            output[row] = (folded[0] + folded[1]) + (folded[2] + folded[3]);
        }
    }
}

/// <summary>A block of a wrapper, column by column: four vectors of rows, the sums are the results.</summary>
internal readonly unsafe struct ColumnForm : ITileForm
{
    public static bool HasCodes => false;

    public static int RowsOf(int width) => 4 * width;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Finish<TVector, TVectors>(float* sums, int stride, float* output)
        where TVector : unmanaged
        where TVectors : IVectors<TVector>
    {
        for (var part = 0; part < 4; part++)
        {
            TVectors.Store(TVectors.Load(sums + (part * stride)), output + (part * TVectors.Width));
        }
    }
}
