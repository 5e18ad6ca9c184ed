using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>down(act(gate(x)) · up(x)): an MLP, or one expert.</summary>
internal sealed class GatedMlp(ActivationFunction activation, LinearWeight gate, LinearWeight up, LinearWeight down) : FeedForward
{
    public override void Run(IKernelBackend backend, ReadOnlySpan<float> input, int rows, ForwardBuffers buffers, Span<float> output)
    {
        var gated = buffers.Gate.AsSpan(0, rows * gate.Rows);
        var widened = buffers.Up.AsSpan(0, gated.Length);
        gate.Multiply(backend, input, rows, gated);
        up.Multiply(backend, input, rows, widened);
        if (activation == ActivationFunction.GeluTanh)
        {
            RowMath.GateByGelu(gated, widened);
        }
        else
        {
            RowMath.GateBySilu(gated, widened);
        }

        down.Multiply(backend, gated, rows, output);
    }
}
