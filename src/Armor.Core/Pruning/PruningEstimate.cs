namespace Armor.Core.Pruning;

/// <summary>What pruning a model will take, foretold from its sizes and from short measurements on this machine.</summary>
public sealed record PruningEstimate
{
    /// <summary>Wall time of the whole run, in seconds.</summary>
    public double Seconds => CalibrationSeconds + PruningSeconds + FileSeconds;

    /// <summary>Of <see cref="Seconds"/>, forward passes and the moments of the linears' inputs.</summary>
    public required double CalibrationSeconds { get; init; }

    /// <summary>Of <see cref="Seconds"/>, pruning the weights.</summary>
    public required double PruningSeconds { get; init; }

    /// <summary>Of <see cref="Seconds"/>, reading the model and writing activations and results.</summary>
    public required double FileSeconds { get; init; }

    /// <summary>The most memory that is resident at once, in bytes.</summary>
    public required long PeakMemory { get; init; }

    /// <summary>The most bytes that the work folder holds at once, the output while it is put together among them.</summary>
    public required long WorkBytes { get; init; }

    /// <summary>
    /// The size of the output folder in bytes: exact, or, where block sizes are chosen linear by linear, what it has at most but for some bytes of headers.
    /// </summary>
    public required long OutputBytes { get; init; }

    /// <summary>What is free now, in bytes, where the output will be.</summary>
    public required long FreeBytes { get; init; }

    /// <summary>The tokens that will go through a layer at once.</summary>
    public required int TokensPerBatch { get; init; }
}
