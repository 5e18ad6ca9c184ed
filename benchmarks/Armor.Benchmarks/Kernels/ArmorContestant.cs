using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Benchmarks.Kernels;

/// <summary>Our own kernels.</summary>
internal sealed class ArmorContestant : Contestant
{
    private readonly CpuBackend backend;
    private readonly KernelWeight[] weights;
    private float[] input = [];
    private float[] output = [];
    private int batch;

    private ArmorContestant(KernelCase weight, int threads, Func<CpuBackend, KernelWeight> prepare)
    {
        backend = new CpuBackend(new CpuBackendOptions { Threads = threads });
        KernelWeight first = prepare(backend);
        weights = [first, .. Enumerable.Range(1, weight.Copies(first.Bytes) - 1).Select(_ => prepare(backend))];
    }

    public override long Bytes => weights[0].Bytes;

    public override int Copies => weights.Length;

    public static Contestant Dense(KernelCase weight, TensorElementType type, int threads) =>
        new ArmorContestant(weight, threads, backend =>
            backend.PrepareDense(DenseWeightSource.FromMemory(weight.Dense, weight.Rows, weight.Columns), type));

    public static Contestant Core(KernelCase weight, TensorElementType type, int threads)
    {
        var layer = new ArmorLayer(null, SourceOf(weight, type).Core, null);
        return new ArmorContestant(weight, threads, backend => backend.PrepareLayer(layer, WrapperType(type)));
    }

    public static Contestant Layer(KernelCase weight, TensorElementType type, int threads, TensorElementType? wrapperType = null) =>
        new ArmorContestant(weight, threads, backend => backend.PrepareLayer(SourceOf(weight, type), WrapperType(type), wrapperType));

    public override void Begin(float[] input, int batch)
    {
        (this.input, this.batch) = (input, batch);
        output = new float[batch * weights[0].Rows];
    }

    public override void Multiply(int copy) => weights[copy].Multiply(input, batch, output);

    public override float[] Output() => output;

    public override void Dispose()
    {
        Array.ForEach(weights, weight => weight.Dispose());
        backend.Dispose();
    }

    private static ArmorLayer SourceOf(KernelCase weight, TensorElementType type) => type == TensorElementType.Int8 ? weight.Quantised : weight.Layer;

    // A core of 8 bits stays one whatever is asked for.
    private static TensorElementType WrapperType(TensorElementType type) => type == TensorElementType.Int8 ? TensorElementType.BFloat16 : type;
}
