namespace Armor.Runtime.Kernels;

/// <summary>
/// The threads of a backend, which the forward pass asks for its own loops (attention, norms) as well, so that both never compete for the cores.
/// Safe for several callers at once: where the threads are taken, the caller's does all parts.
/// </summary>
internal interface IKernelThreads
{
    /// <summary>How many parts run at the same time at most, the caller's thread included.</summary>
    int Count { get; }

    /// <summary>
    /// Runs each of the parts once and returns when all are done; allocates nothing. Parts may run one after another, so none may wait for another.
    /// What a part throws is thrown to the caller, after all have ended.
    /// </summary>
    /// <param name="work">The parts.</param>
    /// <param name="parts">Their number, at least 1; more than <see cref="Count"/> is fine.</param>
    void Run(IParallelWork work, int parts);
}

/// <summary>Work in parts that do not depend on each other. An object that is kept, so that handing it over allocates nothing.</summary>
internal interface IParallelWork
{
    /// <summary>Does one part.</summary>
    /// <param name="part">From 0 to <paramref name="parts"/> − 1.</param>
    /// <param name="parts">Number of parts.</param>
    void Run(int part, int parts);
}

/// <summary>A backend that lends its threads.</summary>
internal interface IThreadedBackend
{
    /// <summary>Stays the backend's.</summary>
    IKernelThreads Threads { get; }
}
