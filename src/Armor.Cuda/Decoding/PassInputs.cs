using System.Runtime.InteropServices;
using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>
/// What goes to the card for a pass: for each row its token, its position and where its sequence lies, and the cosines and sines of its position, which are
/// computed here in double precision, as everywhere in the library. Half a kilobyte a token, in one copy, to an address that stays.
/// </summary>
internal sealed class PassInputs : IDisposable
{
    private const int PairBytes = 2 * sizeof(float);

    private readonly Rotation[] _rotations;
    private readonly int _kinds;
    private readonly int _half;
    private readonly PinnedMemory _pinned;
    private readonly DeviceMemory _memory;

    /// <param name="device">The card.</param>
    /// <param name="configuration">The model.</param>
    /// <param name="mostRows">Of a pass.</param>
    public PassInputs(CudaDevice device, ModelConfiguration configuration, int mostRows)
    {
        MostRows = mostRows;
        _kinds = configuration.LocalRopeTheta is null ? 1 : 2;
        _rotations = [.. new[] { false, true }.SelectMany(isLong => Enumerable.Range(0, _kinds).Select(kind => configuration.GetRotation(kind == 1, isLong)))];
        _half = configuration.RotarySize / 2;
        var bytes = BytesOf(mostRows);
        _pinned = device.AllocatePinned(bytes);
        try
        {
            _memory = device.Allocate(bytes);
        }
        catch
        {
            _pinned.Dispose();
            throw;
        }
    }

    /// <summary>Of a pass.</summary>
    public int MostRows { get; }

    /// <summary>[rows], as layer.cu reads them.</summary>
    public nint Rows => _memory.Address;

    /// <summary>[rows, rotated pairs], cosine and sine.</summary>
    /// <param name="isLocal">Whether for layers that rotate by the local base.</param>
    /// <param name="rows">Of the pass.</param>
    public nint Rotations(bool isLocal, int rows) => _memory.Address + RowBytes(rows) + (isLocal ? rows * _half * PairBytes : 0);

    /// <summary>Queues the copy of a pass's inputs. The copy before must have ended.</summary>
    public void Send(DeviceRun run, ReadOnlySpan<int> tokens, ReadOnlySpan<DecoderSegment> segments)
    {
        var rows = MemoryMarshal.Cast<byte, RowDescription>(_pinned.AsSpan<byte>(RowBytes(tokens.Length)));
        var pairs = MemoryMarshal.Cast<byte, RotationPair>(_pinned.AsSpan<byte>((int)BytesOf(tokens.Length))[RowBytes(tokens.Length)..]);
        foreach (var segment in segments)
        {
            var table = ((CudaSequence)segment.Sequence).Table(run);
            for (var i = 0; i < segment.Rows; i++)
            {
                var (row, position) = (segment.FirstRow + i, segment.FirstPosition + i);
                rows[row] = new RowDescription { Pages = table, Token = tokens[row], Position = position };
                for (var kind = 0; kind < _kinds; kind++)
                {
                    Turn(_rotations[(segment.IsLong ? _kinds : 0) + kind], position, pairs.Slice(((kind * tokens.Length) + row) * _half, _half));
                }
            }
        }

        _memory.CopyFrom(_pinned, BytesOf(tokens.Length), run.Stream);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pinned.Dispose();
        _memory.Dispose();
    }

    private static int RowBytes(int rows) => rows * Marshal.SizeOf<RowDescription>();

    private static void Turn(Rotation rotation, int position, Span<RotationPair> pairs)
    {
        for (var i = 0; i < pairs.Length; i++)
        {
            var (sine, cosine) = Math.SinCos(position * rotation.Frequencies[i]);
            pairs[i] = new RotationPair { Cosine = (float)(cosine * rotation.Magnitude), Sine = (float)(sine * rotation.Magnitude) };
        }
    }

    private long BytesOf(int rows) => RowBytes(rows) + ((long)_kinds * rows * _half * PairBytes);
}
