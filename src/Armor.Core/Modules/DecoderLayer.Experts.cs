using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>The half of a layer with a mixture of experts.</summary>
public sealed partial class DecoderLayer
{
    /// <summary>Routes the tokens of a layer with experts.</summary>
    /// <param name="m">What <see cref="MlpInput"/> returned, as [tokens, hidden].</param>
    internal ExpertRouting Route(Tensor m) =>
        new(nn.functional.linear(m, _weights[ModelShapes.RouterOf(_configuration)].to(m.dtype)), _configuration.Experts!);

    /// <summary>act(gate(m)) · up(m) of one expert, or of the MLP where there are none: the input of the third linear.</summary>
    /// <param name="m">Rows of what <see cref="MlpInput"/> returned, [..., hidden].</param>
    /// <param name="expert">From 0; null for an MLP.</param>
    /// <returns>[..., intermediate].</returns>
    internal Tensor GatedActivation(Tensor m, int? expert)
    {
        using var scope = NewDisposeScope();
        var names = ModelShapes.FeedForward(_configuration, expert);
        return (Activate(Linear(m, names.Gate)) * Linear(m, names.Up)).MoveToOuterDisposeScope();
    }

    /// <summary>x plus what the MLP or the experts make of its norm: the second half of the layer.</summary>
    /// <param name="x">[batch, length, hidden].</param>
    internal Tensor AddFeedForward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var m = MlpInput(x);
        if (_configuration.Experts is not { } experts)
        {
            return AddMlp(x, MlpActivation(m)).MoveToOuterDisposeScope();
        }

        var tokens = m.reshape(-1, m.shape[^1]);
        var routing = Route(tokens);
        var outputs = Enumerable.Range(0, experts.Count).Select(expert => ExpertOutput(tokens.index_select(0, routing.TokensOf(expert)), expert));
        return AddNormed(x, routing.Combine(outputs).view(x.shape), ModelShapes.MlpOutputNorm).MoveToOuterDisposeScope();
    }

    private Tensor ExpertOutput(Tensor rows, int expert)
    {
        using var scope = NewDisposeScope();
        return Linear(GatedActivation(rows, expert), ModelShapes.FeedForward(_configuration, expert).Down).MoveToOuterDisposeScope();
    }

    private Tensor Activate(Tensor gate)
    {
        if (_configuration.Activation == ActivationFunction.Silu)
        {
            return nn.functional.silu(gate);
        }

        using var scope = NewDisposeScope();
        var inner = gate.Plus((gate.Squared() * gate).Times(0.044715)).Times(Math.Sqrt(2 / Math.PI));
        return (gate.Times(0.5) * inner.tanh().Plus(1.0)).MoveToOuterDisposeScope();
    }
}
