using System.Runtime.InteropServices;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Cuda.Packing;

/// <summary>
/// A 2:4 core, a part a tile of 16 rows: for each chunk of 256 columns the values, 16 bits or 8, then the places of the kept, then the scales of an 8-bit
/// core. Beyond the last row and column lie zeros.
/// </summary>
internal sealed class SparseFragments : IPackedParts
{
    /// <summary>The two places of a group of four, the lower in the low bits, for each mask of two bits; what is no such mask is padding: places 0 and 1.</summary>
    private static readonly byte[] PlacesOfMask = MakePlaces();

    private readonly SparseCore _core;
    private readonly TensorElementType _type;
    private readonly int _chunks;

    /// <param name="core">2:4.</param>
    /// <param name="type">BFloat16 or Float16; not asked where the core is quantised.</param>
    public SparseFragments(SparseCore core, TensorElementType type)
    {
        _core = core;
        _type = type;
        _chunks = Fragments.ChunksOf(core.Columns);
    }

    public int Count => Fragments.TilesOf(_core.Rows);

    public int PartBytes => _chunks * (_core.IsQuantised ? Fragments.Int8ChunkBytes : Fragments.SparseChunkBytes);

    public void Pack(int part, Span<byte> destination)
    {
        var chunkBytes = PartBytes / _chunks;
        for (var chunk = 0; chunk < _chunks; chunk++)
        {
            var own = destination.Slice(chunk * chunkBytes, chunkBytes);
            var valueBytes = PackValues(part, chunk, own);
            var places = MemoryMarshal.Cast<byte, uint>(own.Slice(valueBytes, Fragments.Lanes * Fragments.LaneBytes));
            for (var i = 0; i < places.Length; i++)
            {
                // Lanes of four words; each word is a pair of steps.
                places[i] = Places(part, (chunk * Fragments.ChunkSteps) + (i % 4 * 2), i / 4);
            }
        }
    }

    private static byte[] MakePlaces()
    {
        var places = new byte[16];
        for (var mask = 0; mask < places.Length; mask++)
        {
            places[mask] = int.PopCount(mask) == 2
                ? (byte)(int.TrailingZeroCount(mask) | (int.TrailingZeroCount(mask & (mask - 1)) << 2))
                : (byte)0b0100;
        }

        return places;
    }

    private int PackValues(int tile, int chunk, Span<byte> destination)
    {
        if (_core.IsQuantised)
        {
            PackBytes(tile, chunk, destination);
            return Fragments.ChunkSteps / 2 * Fragments.Lanes * Fragments.LaneBytes;
        }

        var halves = MemoryMarshal.Cast<byte, ushort>(destination);
        var values = _core.Values.Span;
        for (var index = 0; index < Fragments.ChunkSteps * Fragments.Lanes * 8; index++)
        {
            var (step, lane, i) = (index / (Fragments.Lanes * 8), index / 8 % Fragments.Lanes, index % 8);
            var place = PlaceOf(tile, (chunk * Fragments.ChunkSteps) + step, lane, i);
            halves[index] = place < 0 ? (ushort)0 : HalfBits.From(values[place], _type);
        }

        return Fragments.ChunkSteps * Fragments.Lanes * Fragments.LaneBytes;
    }

    /// <summary>Two steps to a lane's sixteen bytes, each value with 128 added.</summary>
    private void PackBytes(int tile, int chunk, Span<byte> destination)
    {
        var values = _core.QuantisedValues.Span;
        for (var index = 0; index < Fragments.ChunkSteps / 2 * Fragments.Lanes * 16; index++)
        {
            var (step, lane, i) = ((index / (Fragments.Lanes * 16) * 2) + (index / 8 % 2), index / 16 % Fragments.Lanes, index % 8);
            var place = PlaceOf(tile, (chunk * Fragments.ChunkSteps) + step, lane, i);
            destination[index] = (byte)(place < 0 ? 128 : values[place] + 128);
        }

        var scales = MemoryMarshal.Cast<byte, ushort>(destination[^Fragments.ScaleBytes..]);
        for (var i = 0; i < scales.Length; i++)
        {
            var row = (tile * Fragments.TileRows) + i;
            scales[i] = row < _core.Rows ? HalfBits.From(_core.RowScales(row)[chunk], TensorElementType.BFloat16) : (ushort)0;
        }
    }

    /// <summary>Where among all kept values the i-th of a lane's eight lies; −1 beyond the matrix.</summary>
    private long PlaceOfLong(int tile, int step, int lane, int i)
    {
        var row = (tile * Fragments.TileRows) + Fragments.RowOf(lane, i);
        var kept = (step * Fragments.StepColumns / 2) + Fragments.ColumnOf(lane, i);
        return row < _core.Rows && kept < _core.RowValueCount ? ((long)row * _core.RowValueCount) + kept : -1;
    }

    // A core has at most Array.MaxLength elements.
    private int PlaceOf(int tile, int step, int lane, int i) => (int)PlaceOfLong(tile, step, lane, i);

    /// <summary>The word of a lane for two steps: lanes 0 and 1 of each four have the first step's 16 columns each, lanes 2 and 3 the second's.</summary>
    private uint Places(int tile, int firstStep, int lane)
    {
        var (g, t) = (lane / 4, lane % 4);
        var group = ((firstStep + (t / 2)) * Fragments.StepColumns / 4) + (t % 2 * 4);
        uint word = 0;
        for (var half = 0; half < 2; half++)
        {
            var row = (tile * Fragments.TileRows) + g + (8 * half);
            for (var i = 0; i < 4; i++)
            {
                var mask = row < _core.Rows && (group + i) * 4 < _core.Columns ? (_core.RowMask(row)[(group + i) / 2] >> ((group + i) % 2 * 4)) & 15 : 0;
                word |= (uint)PlacesOfMask[mask] << ((16 * half) + (4 * i));
            }
        }

        return word;
    }
}
