using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>
/// Which experts some tokens go through, and how much of each they take: softmax over all experts, of which the largest are kept. Its tensors
/// belong to the dispose scope that it is made in, until they are detached from it.
/// </summary>
internal sealed class ExpertRouting : IDisposable
{
    private readonly int perToken;
    private readonly Tensor weights;
    private readonly Tensor order;
    private readonly Tensor rows;
    private readonly long[] starts;

    /// <summary>Routes tokens.</summary>
    /// <param name="scores">The router's, [tokens, experts].</param>
    /// <param name="configuration">The layer's experts.</param>
    public ExpertRouting(Tensor scores, ExpertConfiguration configuration)
    {
        perToken = configuration.PerToken;
        var (values, experts) = scores.to(ScalarType.Float32).softmax(-1).topk(perToken, -1);
        weights = configuration.NormalizesWeights ? values / values.sum(-1, keepdim: true) : values;
        var count = experts.numel();
        var places = TensorArithmetic.Integers(0, count, scores.device);
        var flat = experts.flatten();

        // By expert, and within an expert by token: the keys are unique, so that the order is one.
        order = (flat * TensorArithmetic.Integers(count, count + 1, scores.device)).Plus(places).argsort();
        rows = TensorArithmetic.Integers(0, scores.shape[0], scores.device).unsqueeze(1).expand(-1, perToken).flatten().index_select(0, order);
        starts = new long[configuration.Count + 1];
        foreach (var expert in flat.cpu().data<long>().ToArray())
        {
            starts[expert + 1]++;
        }

        for (var expert = 0; expert < configuration.Count; expert++)
        {
            starts[expert + 1] += starts[expert];
        }
    }

    /// <summary>How many tokens go through an expert.</summary>
    public long CountOf(int expert) => starts[expert + 1] - starts[expert];

    /// <summary>The tokens that go through an expert, int64 [count], in order.</summary>
    public Tensor TokensOf(int expert) => rows.narrow(0, starts[expert], CountOf(expert));

    /// <summary>How much of an expert's output its tokens take, float32 [count].</summary>
    public Tensor WeightsOf(int expert) =>
        weights.flatten().index_select(0, order.narrow(0, starts[expert], CountOf(expert)));

    /// <summary>Takes the tensors out of their dispose scope; they are then to be disposed of.</summary>
    public ExpertRouting Detach()
    {
        foreach (Tensor tensor in new[] { weights, order, rows })
        {
            tensor.DetachFromDisposeScope();
        }

        return this;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        weights.Dispose();
        order.Dispose();
        rows.Dispose();
    }

    /// <summary>Adds up what the experts have made of their tokens.</summary>
    /// <param name="outputs">For each expert, [its tokens, hidden].</param>
    /// <returns>[tokens, hidden].</returns>
    public Tensor Combine(IEnumerable<Tensor> outputs)
    {
        using var scope = NewDisposeScope();
        var all = cat([.. outputs], 0);
        var byToken = all.index_select(0, order.argsort()).view(-1, perToken, all.shape[1]);
        return (byToken * weights.to(all.dtype).unsqueeze(-1)).sum(1).MoveToOuterDisposeScope();
    }
}
