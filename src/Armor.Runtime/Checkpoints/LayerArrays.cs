namespace Armor.Runtime.Checkpoints;

/// <summary>
/// The arrays of layers that are read one after the other: those of a layer that has been let go serve the next ones of the same sizes. Without it, a
/// large model's layers lie on the heap by the hundred megabytes until they are collected.
/// </summary>
internal sealed class LayerArrays
{
    private readonly List<Array> _free = [];
    private readonly List<Array> _taken = [];

    /// <summary>An array of a length; its content is undefined.</summary>
    public T[] Take<T>(int length)
        where T : unmanaged
    {
        // Types are compared, not cast: to the run-time, sbyte[] is a byte[] too.
        var index = _free.FindIndex(array => array.GetType() == typeof(T[]) && array.Length == length);
        var taken = index < 0 ? GC.AllocateUninitializedArray<T>(length) : (T[])_free[index];
        if (index >= 0)
        {
            _free.RemoveAt(index);
        }

        _taken.Add(taken);
        return taken;
    }

    /// <summary>Takes all arrays back: the layer that was made of them must not be used any more.</summary>
    public void Return()
    {
        _free.AddRange(_taken);
        _taken.Clear();
    }
}
