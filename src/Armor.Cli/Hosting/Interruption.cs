namespace Armor.Cli.Hosting;

/// <summary>What Ctrl-C stops: the verb, or for as long as one is under way, a part of it.</summary>
internal sealed class Interruption : IDisposable
{
    private readonly CancellationTokenSource whole = new();
    private readonly Lock guard = new();
    private CancellationTokenSource? part;
    private bool waiting;

    /// <summary>Cancelled when the verb is to stop.</summary>
    internal CancellationToken Token => whole.Token;

    /// <summary>Stops what is under way: the part, or where there is none the verb.</summary>
    /// <returns>False where nothing is, or it has been asked before: the process may as well end.</returns>
    internal bool Interrupt()
    {
        lock (guard)
        {
            if (part is null)
            {
                return Stop();
            }

            bool first = !part.IsCancellationRequested;
            part.Cancel();
            return first;
        }
    }

    /// <summary>Stops the verb, whatever is under way.</summary>
    /// <returns>False where it waits for the user, or has been asked before: the process may as well end.</returns>
    internal bool Stop()
    {
        lock (guard)
        {
            if (waiting || whole.IsCancellationRequested)
            {
                return false;
            }

            whole.Cancel();
            return true;
        }
    }

    /// <summary>Does a part that can be stopped alone.</summary>
    /// <param name="cancellationToken">What stops the verb.</param>
    /// <param name="work">Gets a token that is cancelled when the part or the verb is to stop.</param>
    internal async Task RunPartAsync(CancellationToken cancellationToken, Func<CancellationToken, Task> work)
    {
        using CancellationTokenSource own = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Set(own, false);
        try
        {
            await work(own.Token).ConfigureAwait(false);
        }
        finally
        {
            Set(null, false);
        }
    }

    /// <summary>Waits for the user, which only the end of the process interrupts: a console gives no line back before it is whole.</summary>
    internal string? Wait(Func<string?> read)
    {
        Set(null, true);
        try
        {
            return read();
        }
        finally
        {
            Set(null, false);
        }
    }

    public void Dispose() => whole.Dispose();

    private void Set(CancellationTokenSource? current, bool isWaiting)
    {
        lock (guard)
        {
            part = current;
            waiting = isWaiting;
        }
    }
}
