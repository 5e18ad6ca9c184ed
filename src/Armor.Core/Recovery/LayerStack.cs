using Armor.Core.Modules;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// The decoder layers forwards and backwards, either with the whole graph in memory or with one layer's at a time: then only the layers' inputs are
/// kept and a layer is computed again when its turn comes (activation checkpointing, arXiv 1604.06174). All tensors are of the caller's dispose scope.
/// </summary>
internal sealed class LayerStack
{
    private readonly CausalLanguageModel model;
    private readonly List<Tensor> inputs = [];
    private readonly bool recompute;

    /// <summary>Runs the layers forwards.</summary>
    /// <param name="model">The model, whose linears are trainable.</param>
    /// <param name="tokens">[batch, length].</param>
    /// <param name="recompute">Whether to keep only the layers' inputs.</param>
    /// <param name="cancellationToken">Stops between layers.</param>
    public LayerStack(CausalLanguageModel model, Tensor tokens, bool recompute, CancellationToken cancellationToken)
    {
        this.model = model;
        this.recompute = recompute;
        using var mode = set_grad_enabled(!recompute);
        Hidden = model.Embed(tokens);
        foreach (DecoderLayer layer in model.Layers)
        {
            cancellationToken.ThrowIfCancellationRequested();
            inputs.Add(Hidden);
            Hidden = layer.Forward(Hidden);
        }
    }

    /// <summary>The residual stream after the last layer.</summary>
    public Tensor Hidden { get; }

    /// <summary>Adds to the parameters' gradients; once.</summary>
    /// <param name="gradient">That of the loss by <see cref="Hidden"/>.</param>
    /// <param name="cancellationToken">Stops between layers.</param>
    public void Backward(Tensor gradient, CancellationToken cancellationToken)
    {
        if (!recompute)
        {
            autograd.backward(Hidden, gradient);
            return;
        }

        Tensor current = gradient;
        for (int layer = inputs.Count - 1; layer >= 0; layer--)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            Tensor input = inputs[layer].detach().requires_grad_(true);
            autograd.backward(model.Layers[layer].Forward(input), current);
            current = input.grad!.MoveToOuterDisposeScope();
            inputs[layer].Dispose();
        }
    }
}
