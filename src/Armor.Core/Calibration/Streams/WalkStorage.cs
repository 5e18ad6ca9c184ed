namespace Armor.Core.Calibration.Streams;

/// <summary>Where a <see cref="CalibrationWalk"/> keeps activations. Without effect on any result.</summary>
/// <param name="Folder">For what does not fit in memory, and to resume from; null: everything stays in memory.</param>
/// <param name="StreamBytes">What the residual streams may take in memory.</param>
/// <param name="KeptBytes">What the inputs of one group may take in memory, so that they need not be computed twice.</param>
/// <param name="SpillKept">Whether inputs of a group that do not fit go to the folder; otherwise they are computed twice.</param>
internal sealed record WalkStorage(string? Folder, long StreamBytes, long KeptBytes, bool SpillKept = false)
{
    /// <summary>What the inputs of one group may take where nothing else is said.</summary>
    public const long DefaultKeptBytes = 1L << 29;

    /// <summary>Everything in memory.</summary>
    public static WalkStorage Memory { get; } = new(null, long.MaxValue, DefaultKeptBytes);
}
