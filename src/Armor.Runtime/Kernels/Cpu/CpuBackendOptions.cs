namespace Armor.Runtime.Kernels.Cpu;

/// <summary>How a <see cref="CpuBackend"/> uses the machine.</summary>
public sealed record CpuBackendOptions
{
    /// <summary>The number of threads that multiply, the caller's included.</summary>
    /// <value>The default is the number of processors that the process may use.</value>
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>For how long a thread without work spins before it lets go of its processor. The next product often comes within microseconds.</summary>
    /// <value>The default is 50 microseconds.</value>
    public TimeSpan Spin { get; init; } = TimeSpan.FromMicroseconds(50);

    /// <summary>The widest vectors to use; one that the processor lacks is an error. For tests and measurements.</summary>
    internal InstructionSet InstructionSet { get; init; } = InstructionSets.Best;

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">Lists every violation.</exception>
    public void Validate()
    {
        var violations = new List<string>();
        if (Threads is < 1 or > MostThreads)
        {
            violations.Add($"Threads must be 1 to {MostThreads}; found {Threads}.");
        }

        if (Spin < TimeSpan.Zero || Spin > TimeSpan.FromSeconds(1))
        {
            violations.Add($"Spin must be 0 to 1 second; found {Spin}.");
        }

        if (InstructionSet > InstructionSets.Best)
        {
            violations.Add($"The processor has no {InstructionSets.NameOf(InstructionSet)}.");
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(' ', violations));
        }
    }

    private const int MostThreads = 1024;
}
