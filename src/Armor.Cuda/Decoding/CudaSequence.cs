using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Runtime.Generation.Decoding;

namespace Armor.Cuda.Decoding;

/// <summary>
/// One sequence's keys and values on the card. Pages are added as the sequence grows, and nothing is copied; kernels find them by a table of addresses,
/// also on the card. What nobody disposes of is given back when it is collected.
/// </summary>
internal sealed class CudaSequence(CudaDevice device, CacheShape shape) : IDecoderSequence
{
    private const int LeastTable = 4;

    private readonly List<DeviceMemory> _pages = [];
    private DeviceMemory? _table;
    private int _inTable;
    private bool _isDisposed;

    /// <inheritdoc/>
    public void Reserve(int positions)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        var pages = CacheShape.PagesOf(positions);
        while (_pages.Count < pages)
        {
            _pages.Add(Allocate(pages));
        }
    }

    /// <summary>The table's address, with every page in it. For whoever has the card.</summary>
    public nint Table(DeviceRun run)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (_inTable == _pages.Count)
        {
            return _table?.Address ?? 0;
        }

        var places = _table is null ? 0 : (int)(_table.Bytes / sizeof(ulong));
        if (places < _pages.Count)
        {
            _table?.Dispose();
            _table = null;
            _inTable = 0;
            _table = device.Allocate(Math.Max(LeastTable, 2L * _pages.Count) * sizeof(ulong));
        }

        var count = _pages.Count - _inTable;
        var staging = run.Staging(count * sizeof(ulong));
        var addresses = staging.AsSpan<ulong>(count);
        for (var i = 0; i < count; i++)
        {
            addresses[i] = (ulong)_pages[_inTable + i].Address;
        }

        _table!.CopyFrom(staging, count * sizeof(ulong), run.Stream, _inTable * sizeof(ulong));
        run.Stream.Synchronize(); // the staging memory is anybody's
        _inTable = _pages.Count;
        return _table.Address;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (!_isDisposed)
        {
            _isDisposed = true;
            _pages.ForEach(page => page.Dispose());
            _table?.Dispose();
        }
    }

    private DeviceMemory Allocate(long pages)
    {
        try
        {
            return device.Allocate(shape.PageBytes);
        }
        catch (CudaException exception) when (exception.IsOutOfMemory)
        {
            // Sequences that nobody uses any more may not have been collected yet: the collector sees none of the card's memory.
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        try
        {
            return device.Allocate(shape.PageBytes);
        }
        catch (CudaException exception) when (exception.IsOutOfMemory)
        {
            throw new InsufficientMemoryException(
                FormattableString.Invariant(
                    $"The keys and values of {pages * CacheShape.PagePositions} positions take {pages * shape.PageBytes} bytes of {device.Name}, of which there is room for {_pages.Count * shape.PageBytes}. Fewer tokens (MaxTokens), fewer sequences at once, sessions that are disposed of, or CacheType Float16 need less."),
                exception);
        }
    }
}
