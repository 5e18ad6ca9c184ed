using TorchSharp;

namespace Armor.Benchmarks.Kernels;

/// <summary>TorchSharp's linear: libtorch's dense product in its own type, inputs and outputs included.</summary>
internal sealed class TorchContestant : Contestant
{
    private readonly torch.ScalarType type;
    private readonly int threads;
    private readonly torch.Tensor[] weights;
    private torch.Tensor? input;
    private torch.Tensor? output;

    public TorchContestant(KernelCase weight, torch.ScalarType type, int threads)
    {
        (this.type, this.threads) = (type, threads);
        torch.set_num_threads(threads);
        using torch.Tensor values = torch.frombuffer(weight.Dense, torch.float32);
        torch.Tensor first = values.reshape(weight.Rows, weight.Columns).to(type, copy: true);
        weights = [first, .. Enumerable.Range(1, weight.Copies(first.NumberOfElements * first.ElementSize) - 1).Select(_ => first.clone())];
    }

    public override long Bytes => weights[0].NumberOfElements * weights[0].ElementSize;

    public override int Copies => weights.Length;

    public override void Begin(float[] input, int batch)
    {
        torch.set_num_threads(threads);
        this.input?.Dispose();
        this.input = torch.tensor(input, [batch, weights[0].shape[1]], dtype: type);
    }

    public override void Multiply(int copy)
    {
        output?.Dispose();
        output = torch.nn.functional.linear(input!, weights[copy]);
    }

    public override float[] Output()
    {
        using torch.Tensor wide = output!.to(torch.float32);
        return wide.data<float>().ToArray();
    }

    public override void Dispose()
    {
        Array.ForEach(weights, weight => weight.Dispose());
        input?.Dispose();
        output?.Dispose();
    }
}
