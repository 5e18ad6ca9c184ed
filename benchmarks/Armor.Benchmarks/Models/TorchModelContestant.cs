using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Benchmarks.Models;

/// <summary>
/// The dense model in TorchSharp, with a cache of keys and values: libtorch's linear, norm and scaled_dot_product_attention. As in ours, only the
/// last token of a prompt goes through the head.
/// </summary>
internal sealed class TorchModelContestant : ModelContestant
{
    private readonly CausalLanguageModel model;
    private readonly KeyValueCache cache;
    private readonly int threads;
    private Tensor? logits;

    public TorchModelContestant(string name, string folder, ScalarType type, int threads, int capacity)
        : base(name)
    {
        this.threads = threads;
        set_num_threads(threads);
        model = CausalLanguageModel.Load(folder, type: type);
        cache = new KeyValueCache(model.Configuration, batch: 1, capacity, type);
        Bytes = model.Weights.Values.Sum(weight => weight.NumberOfElements * weight.ElementSize);
    }

    public override long Bytes { get; }

    public override bool CanLeaveHeadOut => false;

    public override void Rewind(int length) => cache.Rewind(length);

    public override void Run(ReadOnlySpan<int> tokens, bool withHead = true)
    {
        set_num_threads(threads);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable withoutGradients = no_grad();
        Tensor input = tensor(Array.ConvertAll(tokens.ToArray(), token => (long)token)).unsqueeze(0);
        Tensor hidden = model.RunLayers(input, CancellationToken.None, cache);
        Tensor all = model.Head(hidden.narrow(1, tokens.Length - 1, 1));
        logits?.Dispose();
        logits = all.flatten().DetachFromDisposeScope();
    }

    public override float[] Logits()
    {
        using Tensor wide = logits!.to(float32, copy: true);
        return wide.data<float>().ToArray();
    }

    public override void Dispose()
    {
        logits?.Dispose();
        cache.Dispose();
        model.Dispose();
    }
}
