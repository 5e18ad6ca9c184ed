using Armor.Runtime.Kernels.Cpu.Tiles;

namespace Armor.Runtime.Kernels.Cpu;

/// <summary>
/// One product under way: packs the inputs of a matrix and multiplies by it, in parts that the backend's threads share. Kept from product to product
/// with its memory.
/// </summary>
internal sealed unsafe class TiledProduct : IParallelWork, IDisposable
{
    // Below so many bytes of weights, times inputs, waking threads costs more than they help.
    private const long LeastWork = 1 << 15;
    private const long PartWork = 1 << 17;
    private const int PartsPerThread = 4;

    private AlignedMemory? _packed;
    private AlignedMemory? _carried;
    private AlignedMemory? _first;
    private AlignedMemory? _second;
    private PackedMatrix _matrix = null!;
    private bool _isPacking;
    private float* _input;
    private byte* _packedInput;
    private float* _output;
    private int _batch;
    private int _scratchBytes;

    /// <summary>Room for what one factor hands to the next: of the first such pair.</summary>
    public float* First(long count) => (float*)Grow(ref _first, count * sizeof(float));

    /// <summary>Room for what one factor hands to the next: of the second such pair.</summary>
    public float* Second(long count) => (float*)Grow(ref _second, count * sizeof(float));

    /// <summary>output = matrix · input.</summary>
    /// <param name="matrix">Cannot be disposed of meanwhile.</param>
    /// <param name="threads">Do the work.</param>
    /// <param name="input">[batch, columns].</param>
    /// <param name="batch">At least 1.</param>
    /// <param name="output">[batch, rows].</param>
    public void Run(PackedMatrix matrix, IKernelThreads threads, float* input, int batch, float* output)
    {
        var layout = matrix.Layout;
        _matrix = matrix;
        _input = input;
        _batch = batch;
        _output = output;
        var parts = PartsOf(layout, batch, threads.Count);
        _packedInput = (byte*)input;
        if (!matrix.ReadsInPlace(batch))
        {
            _packedInput = Grow(ref _packed, layout.PackedBytes(batch));
            _isPacking = true;
            threads.Run(this, batch == 1 || parts == 1 ? 1 : threads.Count);
        }

        _isPacking = false;
        _scratchBytes = (matrix.ScratchBytes(batch) + 63) / 64 * 64;
        if (_scratchBytes > 0)
        {
            Grow(ref _carried, (long)_scratchBytes * parts);
        }

        threads.Run(this, parts);
    }

    public void Run(int part, int parts)
    {
        var layout = _matrix.Layout;
        if (_isPacking)
        {
            _matrix.PackInput(_input, _batch, _packedInput, part, parts);
            return;
        }

        var (first, end) = ((int)((long)layout.Tiles * part / parts), (int)((long)layout.Tiles * (part + 1) / parts));
        var scratch = _scratchBytes > 0 ? _carried!.Pointer + ((long)_scratchBytes * part) : null;
        _matrix.Multiply(first, end, _packedInput, _batch, _output, scratch);
        _matrix.AddDiagonal(first, end, _input, _batch, _output);
    }

    public void Dispose()
    {
        _packed?.Dispose();
        _carried?.Dispose();
        _first?.Dispose();
        _second?.Dispose();
    }

    private static int PartsOf(TileLayout layout, int batch, int threads)
    {
        var work = layout.Bytes * batch;
        if (threads == 1 || work < LeastWork)
        {
            return 1;
        }

        var parts = Math.Clamp(work / PartWork, threads, threads * PartsPerThread);
        return (int)Math.Min(parts, layout.Tiles);
    }

    private static byte* Grow(ref AlignedMemory? memory, long bytes)
    {
        if (memory is null || memory.Bytes < bytes)
        {
            memory?.Dispose();
            memory = null;
            memory = new AlignedMemory(bytes);
        }

        return memory.Pointer;
    }
}
