using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Benchmarks.Kernels;

/// <summary>
/// One weight of random numbers in every form that is compared: a 2:4 core, the same with its zeros for dense products, and a layer with the core between
/// wrappers.
/// </summary>
internal sealed class KernelCase
{
    private const int LargestBlock = 128;

    private readonly Random random = new(1);
    private readonly long rotatedBytes;
    private readonly Lazy<ArmorLayer> quantised;

    /// <summary>Draws the numbers.</summary>
    /// <param name="rows">Outputs.</param>
    /// <param name="columns">Inputs.</param>
    /// <param name="rotatedBytes">Copies of a weight take more than this together; by default far more than a processor's cache has.</param>
    public KernelCase(int rows, int columns, long rotatedBytes = 512L << 20)
    {
        this.rotatedBytes = rotatedBytes;
        (Rows, Columns) = (rows, columns);
        Dense = Values((long)rows * columns);
        for (int group = 0; group < Dense.Length; group += 4)
        {
            int first = random.Next(4);
            Dense[group + first] = 0;
            Dense[group + ((first + 1 + random.Next(3)) % 4)] = 0;
        }

        Layer = new ArmorLayer(Wrapper(rows), SparseCore.FromDense(Dense, rows, columns), Wrapper(columns));
        quantised = new Lazy<ArmorLayer>(() => Layer.RoundedTo(TensorElementType.BFloat16, TensorElementType.Int8));
    }

    public int Rows { get; }

    public int Columns { get; }

    /// <summary>[rows, columns], half of them zeros.</summary>
    public float[] Dense { get; }

    /// <summary>The core between wrappers.</summary>
    public ArmorLayer Layer { get; }

    /// <summary>The same with a core of 8 bits and wrappers of bfloat16.</summary>
    public ArmorLayer Quantised => quantised.Value;

    /// <summary>How many copies of so many bytes are multiplied by in turn.</summary>
    public int Copies(long bytes) => (int)((rotatedBytes / bytes) + 1);

    /// <summary>Numbers between −0.5 and 0.5.</summary>
    public float[] Values(long count)
    {
        var values = new float[count];
        foreach (ref float value in values.AsSpan())
        {
            value = random.NextSingle() - 0.5f;
        }

        return values;
    }

    /// <summary>Products in float64 of what a contestant multiplies by: the whole layer, or its core alone.</summary>
    public float[] Reference(bool wholeLayer, float[] input, int batch)
    {
        using var backend = new ReferenceBackend();
        using KernelWeight weight = backend.PrepareLayer(wholeLayer ? Layer : new ArmorLayer(null, Layer.Core, null), TensorElementType.Float32);
        var output = new float[batch * Rows];
        weight.Multiply(input, batch, output);
        return output;
    }

    private BlockDiagonalMatrix Wrapper(int size)
    {
        int block = LargestBlock;
        while (size % block != 0)
        {
            block /= 2;
        }

        return new BlockDiagonalMatrix(size / block, block, Values((long)size * block));
    }
}
