namespace Armor.Runtime.Kernels.Cpu;

/// <summary>Scratch memory of the products under way, kept for the next ones: in steady state nothing is allocated. Safe for several threads.</summary>
internal sealed class ScratchPool<T> : IDisposable
    where T : class, IDisposable, new()
{
    private readonly Stack<T> _free = [];
    private bool _isDisposed;

    public T Rent()
    {
        lock (_free)
        {
            return _free.TryPop(out var free) ? free : new T();
        }
    }

    public void Return(T used)
    {
        lock (_free)
        {
            if (!_isDisposed)
            {
                _free.Push(used);
                return;
            }
        }

        used.Dispose();
    }

    public void Dispose()
    {
        lock (_free)
        {
            _isDisposed = true;
            while (_free.TryPop(out var free))
            {
                free.Dispose();
            }
        }
    }
}
