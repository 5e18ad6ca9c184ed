using System.Runtime.CompilerServices;

namespace Armor.Runtime.Kernels.Cpu.Threads;

/// <summary>
/// A backend's threads: the caller's and some more that wait for work, first spinning for a moment, as the next product mostly comes within
/// microseconds, then parked. Parts are taken one by one by whoever is free, so that a thread that the system has put aside delays little. While one
/// caller has the threads, another does its parts alone: nobody waits for a stranger's work.
/// </summary>
internal sealed class KernelThreads : IKernelThreads, IDisposable
{
    private readonly Thread[] _threads;
    private readonly object _gate = new();
    private readonly long _spinTicks;

    // The parts left of the present work in the low half, its number in the high half: whoever lowers the count has got a part of this very work, which
    // then cannot end, nor its fields change, before that part is done.
    private long _left;
    private IParallelWork? _work;
    private int _parts;
    private int _unfinished;
    private Exception? _failure;
    private int _isTaken;
    private int _parked;
    private volatile bool _isStopped;

    /// <summary>Starts the threads.</summary>
    /// <param name="count">All, the caller's included.</param>
    /// <param name="spin">For how long a thread without work spins before it parks.</param>
    public KernelThreads(int count, TimeSpan spin)
    {
        Count = count;
        _spinTicks = spin.Ticks * System.Diagnostics.Stopwatch.Frequency / TimeSpan.TicksPerSecond;
        _threads = new Thread[count - 1];
        for (var i = 0; i < _threads.Length; i++)
        {
            _threads[i] = new Thread(Serve) { IsBackground = true, Name = $"Armor kernels {i + 1}" };
            _threads[i].Start();
        }
    }

    /// <inheritdoc/>
    public int Count { get; }

    /// <inheritdoc/>
    public void Run(IParallelWork work, int parts)
    {
        if (parts == 1 || _threads.Length == 0 || _isStopped || Interlocked.CompareExchange(ref _isTaken, 1, 0) != 0)
        {
            RunAlone(work, parts);
            return;
        }

        try
        {
            _work = work;
            _parts = parts;
            _failure = null;
            Volatile.Write(ref _unfinished, parts);
            var number = (_left >> 32) + 1;
            Interlocked.Exchange(ref _left, (number << 32) | (uint)parts);
            if (Volatile.Read(ref _parked) > 0)
            {
                lock (_gate)
                {
                    Monitor.PulseAll(_gate);
                }
            }

            while (TryRunPart())
            {
            }

            WaitForOthers();
            _work = null;
            if (_failure is { } failure)
            {
                _failure = null;
                System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
            }
        }
        finally
        {
            Volatile.Write(ref _isTaken, 0);
        }
    }

    /// <summary>Ends the threads; work under way is finished by its caller.</summary>
    public void Dispose()
    {
        _isStopped = true;
        lock (_gate)
        {
            Monitor.PulseAll(_gate);
        }

        foreach (var thread in _threads)
        {
            if (thread != Thread.CurrentThread)
            {
                thread.Join();
            }
        }
    }

    private static void RunAlone(IParallelWork work, int parts)
    {
        for (var part = 0; part < parts; part++)
        {
            work.Run(part, parts);
        }
    }

    private void WaitForOthers()
    {
        for (var spins = 0; Volatile.Read(ref _unfinished) != 0; spins++)
        {
            if (spins < 10_000)
            {
                Thread.SpinWait(8);
            }
            else
            {
                // Another's part takes long, or its thread is put aside by the system.
                Thread.Yield();
            }
        }
    }

    private void Serve()
    {
        while (!_isStopped)
        {
            if (TryRunPart())
            {
                continue;
            }

            var start = System.Diagnostics.Stopwatch.GetTimestamp();
            while (!HasWork && !_isStopped)
            {
                Thread.SpinWait(8);
                if (System.Diagnostics.Stopwatch.GetTimestamp() - start > _spinTicks)
                {
                    Park();
                    break;
                }
            }
        }
    }

    private void Park()
    {
        lock (_gate)
        {
            // Whoever publishes work after this line sees a parked thread and pulses, which needs the lock; work from before is seen here.
            Interlocked.Increment(ref _parked);
            if (!HasWork && !_isStopped)
            {
                Monitor.Wait(_gate);
            }

            Interlocked.Decrement(ref _parked);
        }
    }

    private bool HasWork => (int)Volatile.Read(ref _left) != 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryRunPart()
    {
        while (true)
        {
            var left = Volatile.Read(ref _left);
            if ((int)left == 0)
            {
                return false;
            }

            if (Interlocked.CompareExchange(ref _left, left - 1, left) != left)
            {
                continue;
            }

            try
            {
                _work!.Run(_parts - (int)left, _parts);
            }
            catch (Exception exception)
            {
                Interlocked.CompareExchange(ref _failure, exception, null);
            }

            Interlocked.Decrement(ref _unfinished);
            return true;
        }
    }
}
