using System.Diagnostics;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu.Threads;

namespace Armor.Runtime.Tests.Kernels;

public sealed class KernelThreadsTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);

    [Test]
    public void EveryPartRunsOnce([Values(1, 2, 3, 16)] int count, [Values(0, 50, 1000)] int spinMicroseconds, [Values(1, 2, 3, 7, 100)] int parts)
    {
        using var threads = new KernelThreads(count, TimeSpan.FromMicroseconds(spinMicroseconds));
        Assert.That(threads.Count, Is.EqualTo(count));
        for (var round = 0; round < 5; round++)
        {
            var work = new Counted(parts);
            threads.Run(work, parts);
            Assert.That(work.Runs, Has.All.EqualTo(1));
        }
    }

    [Test]
    public void OneThreadIsTheCallers()
    {
        using var threads = new KernelThreads(1, TimeSpan.Zero);
        var callers = new HashSet<int>();
        threads.Run(new Action((_, _) => callers.Add(Environment.CurrentManagedThreadId)), 5);
        Assert.That(callers, Is.EqualTo(new[] { Environment.CurrentManagedThreadId }));
    }

    [Test]
    public void PartsRunAtTheSameTime()
    {
        using var threads = new KernelThreads(3, TimeSpan.Zero);
        using var all = new CountdownEvent(3);
        var met = 0;
        threads.Run(new Action((_, _) =>
        {
            all.Signal();
            Interlocked.Add(ref met, all.Wait(Long) ? 1 : 0);
        }), 3);
        Assert.That(met, Is.EqualTo(3));
    }

    [Test]
    public void ParkedThreadsWakeForWork([Values(0, 20)] int spinMicroseconds)
    {
        using var threads = new KernelThreads(3, TimeSpan.FromMicroseconds(spinMicroseconds));
        for (var round = 0; round < 20; round++)
        {
            WaitUntilParked();
            using var all = new CountdownEvent(3);
            var met = 0;
            threads.Run(new Action((_, _) =>
            {
                all.Signal();
                Interlocked.Add(ref met, all.Wait(Long) ? 1 : 0);
            }), 3);
            Assert.That(met, Is.EqualTo(3), "all were needed for the parts to end");
        }

        // Longer than anybody spins; whether they are parked by then does not matter to what is asserted.
        static void WaitUntilParked() => Thread.Sleep(2);
    }

    [Test]
    public void ThreadsWithoutWorkTakeNoProcessorTime()
    {
        using var threads = new KernelThreads(4, TimeSpan.FromMicroseconds(50));
        threads.Run(new Counted(8), 8);
        using var process = Process.GetCurrentProcess();
        // Others may be busy for a while: of many short naps, one that nobody spins in is enough.
        for (var begin = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(begin) < Long;)
        {
            process.Refresh();
            var before = process.TotalProcessorTime;
            Thread.Sleep(100);
            process.Refresh();
            if (process.TotalProcessorTime - before < TimeSpan.FromMilliseconds(50))
            {
                return;
            }
        }

        Assert.Fail("Threads spin all the time.");
    }

    [Test]
    public void WhatAPartThrowsIsThrownAfterAllHaveEnded([Values(1, 2, 4)] int count, [Values(1, 9)] int parts)
    {
        using var threads = new KernelThreads(count, TimeSpan.FromMicroseconds(50));
        for (var round = 0; round < 20; round++)
        {
            var running = 0;
            var work = new Action((part, _) =>
            {
                Interlocked.Increment(ref running);
                Thread.Yield();
                Interlocked.Decrement(ref running);
                if (part == parts - 1)
                {
                    throw new InvalidDataException("bad part");
                }
            });
            Assert.That(() => threads.Run(work, parts), Throws.TypeOf<InvalidDataException>().With.Message.EqualTo("bad part"));
            Assert.That(Volatile.Read(ref running), Is.Zero);
            var next = new Counted(parts);
            threads.Run(next, parts);
            Assert.That(next.Runs, Has.All.EqualTo(1), "the threads serve on");
        }
    }

    [Test]
    public void SeveralCallersDisturbNobody([Values(1, 2, 3)] int count)
    {
        using var threads = new KernelThreads(count, TimeSpan.FromMicroseconds(50));
        Thread[] callers = [.. Enumerable.Range(1, 4).Select(caller => new Thread(() =>
        {
            for (var round = 0; round < 300; round++)
            {
                var work = new Counted(caller + (round % 5));
                threads.Run(work, work.Runs.Length);
                if (work.Runs.Any(runs => runs != 1))
                {
                    throw new InvalidOperationException("A part ran twice or never.");
                }
            }
        }))];
        Array.ForEach(callers, caller => caller.Start());
        Assert.That(callers.Select(caller => caller.Join(Long)), Has.All.True);
    }

    [Test]
    public void ACallerWhoFindsTheThreadsTakenWorksAlone()
    {
        using var threads = new KernelThreads(2, TimeSpan.Zero);
        using var taken = new CountdownEvent(2);
        using var release = new ManualResetEventSlim();
        var first = Task.Run(() => threads.Run(new Action((_, _) =>
        {
            taken.Signal();
            release.Wait(Long);
        }), 2));
        Assert.That(taken.Wait(Long), Is.True);
        var callers = new HashSet<int>();
        threads.Run(new Action((_, _) => callers.Add(Environment.CurrentManagedThreadId)), 4);
        Assert.That(callers, Is.EqualTo(new[] { Environment.CurrentManagedThreadId }));
        Assert.That(first.IsCompleted, Is.False);
        release.Set();
        Assert.That(first.Wait(Long), Is.True);
    }

    [Test]
    public void APartMayUseTheThreadsItself()
    {
        using var threads = new KernelThreads(2, TimeSpan.FromMicroseconds(50));
        var inner = Enumerable.Range(0, 6).Select(_ => new Counted(3)).ToArray();
        threads.Run(new Action((part, _) => threads.Run(inner[part], 3)), 6);
        Assert.That(inner.SelectMany(work => work.Runs), Has.All.EqualTo(1));
    }

    [Test]
    public void DisposalEndsParkedAndSpinningThreads([Values(0, 500_000)] int spinMicroseconds)
    {
        for (var round = 0; round < 5; round++)
        {
            var threads = new KernelThreads(4, TimeSpan.FromMicroseconds(spinMicroseconds));
            var disposal = Task.Run(() =>
            {
                threads.Dispose();
                threads.Dispose();
            });
            Assert.That(disposal.Wait(Long), Is.True);
            var work = new Counted(5);
            threads.Run(work, 5);
            Assert.That(work.Runs, Has.All.EqualTo(1), "afterwards the caller does all parts");
        }
    }

    [Test]
    public void DisposalDuringWorkLetsItEnd()
    {
        var threads = new KernelThreads(2, TimeSpan.FromMicroseconds(50));
        using var started = new CountdownEvent(2);
        using var release = new ManualResetEventSlim();
        var runs = 0;
        var work = Task.Run(() => threads.Run(new Action((part, _) =>
        {
            if (part < 2)
            {
                started.Signal();
                release.Wait(Long);
            }

            Interlocked.Increment(ref runs);
        }), 7));
        Assert.That(started.Wait(Long), Is.True);
        var disposal = Task.Run(threads.Dispose);
        Assert.That(disposal.Wait(20), Is.False, "a thread still has a part");
        release.Set();
        Assert.That(work.Wait(Long) && disposal.Wait(Long), Is.True);
        Assert.That(runs, Is.EqualTo(7));
    }

    [Test]
    public void HandingWorkOverAllocatesNothing()
    {
        using var threads = new KernelThreads(2, TimeSpan.FromMicroseconds(50));
        var work = new Counted(6);
        threads.Run(work, 6);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var round = 0; round < 100; round++)
        {
            threads.Run(work, 6);
        }

        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
    }

    private sealed class Counted(int parts) : IParallelWork
    {
        public int[] Runs { get; } = new int[parts];

        public void Run(int part, int parts)
        {
            if (parts != Runs.Length)
            {
                throw new InvalidOperationException($"{parts} parts, not {Runs.Length}.");
            }

            Interlocked.Increment(ref Runs[part]);
        }
    }

    private sealed class Action(System.Action<int, int> action) : IParallelWork
    {
        public void Run(int part, int parts) => action(part, parts);
    }
}
