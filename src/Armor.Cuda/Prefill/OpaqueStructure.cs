using System.Runtime.InteropServices;

namespace Armor.Cuda.Prefill;

/// <summary>
/// Memory for one of cuSPARSELt's opaque structures, which the caller allocates. Their size differs by version (11,024 bytes up to 0.4, 512 since), and
/// the library writes it all: each gets more than any version needs, in memory that does not move. Guards behind it tell if that was too little.
/// </summary>
internal sealed unsafe class OpaqueStructure : SafeHandle
{
    /// <summary>More than the largest known, 11,024.</summary>
    public const int Bytes = 16 << 10;

    public const int Alignment = 16;

    private const int GuardBytes = 64;
    private const byte GuardByte = 0xC3;

    private readonly Func<nint, int>? _destroy;

    /// <param name="destroy">The library's function that ends it; null where there is none.</param>
    public OpaqueStructure(Func<nint, int>? destroy)
        : base(0, ownsHandle: true)
    {
        _destroy = destroy;
        SetHandle((nint)NativeMemory.AlignedAlloc(Bytes + GuardBytes, Alignment));
        NativeMemory.Clear((void*)handle, Bytes);
        new Span<byte>((byte*)handle + Bytes, GuardBytes).Fill(GuardByte);
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Whether the library has filled it in, so that it must be destroyed.</summary>
    public bool IsInitialised { get; private set; }

    public nint Address
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsClosed, this);
            return handle;
        }
    }

    /// <summary>After the library's function has succeeded.</summary>
    /// <exception cref="CudaException">It wrote more than the structure has.</exception>
    public void Initialised(string call)
    {
        IsInitialised = true;
        if (new Span<byte>((byte*)handle + Bytes, GuardBytes).ContainsAnyExcept(GuardByte))
        {
            throw new CudaException($"{call} wrote more than {Bytes} bytes: this version of the library is not one that we know.");
        }
    }

    protected override bool ReleaseHandle()
    {
        var isDestroyed = !IsInitialised || _destroy is null || _destroy(handle) == 0;
        NativeMemory.AlignedFree((void*)handle);
        return isDestroyed;
    }
}
