namespace Armor.Benchmarks.Kernels;

/// <summary>A library's product by copies of one weight, with as many threads as it was made for.</summary>
internal abstract class Contestant : IDisposable
{
    /// <summary>Bytes of one copy of the weight, all of which a product reads.</summary>
    public abstract long Bytes { get; }

    /// <summary>Number of copies, which take turns so that none is in the cache.</summary>
    public abstract int Copies { get; }

    /// <summary>Takes the inputs of the products that follow.</summary>
    /// <param name="input">[batch, columns].</param>
    /// <param name="batch">Number of inputs.</param>
    public abstract void Begin(float[] input, int batch);

    /// <summary>One product: what is timed.</summary>
    /// <param name="copy">From 0 to <see cref="Copies"/> − 1.</param>
    public abstract void Multiply(int copy);

    /// <summary>What the latest product gave, [batch, rows].</summary>
    public abstract float[] Output();

    public abstract void Dispose();
}
