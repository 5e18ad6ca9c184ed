namespace Armor.Runtime.Kernels;

/// <summary>Whether a backend can do something and, if not, why.</summary>
public readonly record struct KernelSupport
{
    private KernelSupport(bool isSupported, string? reason)
    {
        IsSupported = isSupported;
        Reason = reason;
    }

    /// <summary>The backend can.</summary>
    public static KernelSupport Supported { get; } = new(true, null);

    /// <summary>Whether the backend can.</summary>
    public bool IsSupported { get; }

    /// <summary>Why it cannot; null if it can.</summary>
    public string? Reason { get; }

    /// <summary>The backend cannot.</summary>
    /// <param name="reason">Why, as a sentence.</param>
    /// <exception cref="ArgumentException">The reason is empty.</exception>
    public static KernelSupport Unsupported(string reason)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(reason);
        return new KernelSupport(false, reason);
    }
}
