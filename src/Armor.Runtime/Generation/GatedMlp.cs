using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>down(act(gate(x)) · up(x)): an MLP, or one expert.</summary>
internal sealed class GatedMlp(ActivationFunction activation, LinearWeight gate, LinearWeight up, LinearWeight down) : FeedForward
{
    public override void Run(ReadOnlySpan<float> input, int rows, ForwardBuffers buffers, Span<float> output)
    {
        var gated = buffers.Gate.AsSpan(0, rows * gate.Rows);
        var widened = buffers.Up.AsSpan(0, gated.Length);
        gate.Multiply(input, rows, gated);
        up.Multiply(input, rows, widened);
        buffers.Gating.Run(activation, buffers.Gate, buffers.Up, gated.Length);
        down.Multiply(gated, rows, output);
    }
}
