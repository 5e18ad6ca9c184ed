using Armor.Cuda.Devices;
using Armor.Cuda.Interop;
using Armor.Cuda.Packing;

namespace Armor.Cuda.Kernels;

/// <summary>
/// What products on one stream share: the kernels, and scratch memory that grows as it must. One caller at a time; work of one caller after another in
/// the same stream never overlaps, so they may share the scratch.
/// </summary>
internal sealed class DeviceRun : IDisposable
{
    private const long StagingBytes = 16 << 20;

    private readonly DeviceMemory?[] _scratch = new DeviceMemory?[Enum.GetValues<ScratchUse>().Length];
    private PinnedMemory? _staging;

    public DeviceRun(CudaDevice device, CudaModule module)
    {
        Device = device;
        Module = module;
        Stream = device.CreateStream();
    }

    public CudaDevice Device { get; }

    public CudaModule Module { get; }

    public CudaStream Stream { get; }

    /// <summary>Grows with every allocation of scratch memory: what was recorded with older addresses is of no more use.</summary>
    public int ScratchVersion { get; private set; }

    /// <summary>Memory for one use, of at least this size. Growing loses the content, and waits for the device.</summary>
    public DeviceMemory Scratch(ScratchUse use, long bytes)
    {
        ref var memory = ref _scratch[(int)use];
        if (memory is null || memory.Bytes < bytes)
        {
            if (memory is not null)
            {
                Stream.Synchronize();
                memory.Dispose();
                memory = null;
            }

            memory = Device.Allocate(bytes);
            ScratchVersion++;
            if (use is ScratchUse.Tickets or ScratchUse.AttentionTickets or ScratchUse.LogitTickets)
            {
                // Kernels leave them zero.
                memory.Fill(0, Stream);
            }
        }

        return memory;
    }

    /// <summary>Memory of the machine for copies.</summary>
    public PinnedMemory Staging(long bytes)
    {
        if (_staging is null || _staging.Bytes < bytes)
        {
            _staging?.Dispose();
            _staging = null;
            _staging = Device.AllocatePinned(bytes);
        }

        return _staging;
    }

    /// <summary>Queues setting some memory to zero.</summary>
    public void Clear(nint address, long bytes)
    {
        Device.Use();
        Device.Check("cuMemsetD8Async", Device.Driver.Fill(address, 0, (nuint)bytes, Stream.Handle), $"{bytes} bytes");
    }

    /// <summary>Packs a matrix and copies it to the device, piece by piece.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing is kept.</exception>
    public DeviceMemory Upload(IPackedParts parts, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var memory = Device.Allocate((long)parts.Count * parts.PartBytes);
        try
        {
            var atOnce = (int)Math.Clamp(StagingBytes / parts.PartBytes, 1, parts.Count);
            var staging = Staging((long)atOnce * parts.PartBytes);
            for (var first = 0; first < parts.Count; first += atOnce)
            {
                var count = Math.Min(atOnce, parts.Count - first);
                Pack(parts, first, count, staging, cancellationToken);
                memory.CopyFrom(staging, (long)count * parts.PartBytes, Stream, (long)first * parts.PartBytes);
                Stream.Synchronize();
            }

            return memory;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    public void Launch<T>(string kernel, uint x, uint y, uint z, uint threads, T arguments)
        where T : unmanaged
        => Module.Launch(kernel, new LaunchShape(x, y, z, threads), arguments, Stream);

    public void Dispose()
    {
        foreach (var memory in _scratch)
        {
            memory?.Dispose();
        }

        _staging?.Dispose();
        Stream.Dispose();
    }

    private static void Pack(IPackedParts parts, int first, int count, PinnedMemory staging, CancellationToken cancellationToken)
    {
        try
        {
            Parallel.For(0, count, new ParallelOptions { CancellationToken = cancellationToken }, i =>
            {
                var all = staging.AsSpan<byte>(checked(count * parts.PartBytes));
                parts.Pack(first + i, all.Slice(i * parts.PartBytes, parts.PartBytes));
            });
        }
        catch (AggregateException exception) when (exception.InnerExceptions.Count > 0)
        {
            // What a source throws is thrown to whoever asked.
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]);
        }
    }
}

/// <summary>What scratch memory is for.</summary>
internal enum ScratchUse
{
    /// <summary>Inputs of a product as the caller gave them.</summary>
    Input,

    /// <summary>Results for the caller.</summary>
    Output,

    /// <summary>Inputs in the order of fragments.</summary>
    Steps,

    /// <summary>Between B and S, in float32.</summary>
    AfterInputWrapper,

    /// <summary>Between S and A, in float32.</summary>
    BeforeOutputWrapper,

    /// <summary>Sums of the splits.</summary>
    Partials,

    /// <summary>Counts which block of a row block comes last.</summary>
    Tickets,

    /// <summary>Attention's sums over parts of the positions.</summary>
    AttentionPartials,

    /// <summary>Counts which part of the positions comes last.</summary>
    AttentionTickets,

    /// <summary>The highest logits of parts of the vocabulary.</summary>
    LogitParts,

    /// <summary>Counts which part of the vocabulary comes last.</summary>
    LogitTickets,

    /// <summary>Inputs of 16 bits for NVIDIA's libraries.</summary>
    LibraryInput,

    /// <summary>After B, 16 bits.</summary>
    LibraryInner,

    /// <summary>After the core, 16 bits.</summary>
    LibraryOutput,

    /// <summary>What NVIDIA's libraries want beside.</summary>
    Workspace,
}
