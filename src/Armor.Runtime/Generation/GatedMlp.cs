using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>down(act(gate(x)) · up(x)): an MLP, or one expert.</summary>
public sealed class GatedMlp : FeedForward
{
    private readonly ActivationFunction _activation;

    /// <summary>Joins the linears.</summary>
    /// <param name="activation">act.</param>
    /// <param name="gate">[intermediate, hidden].</param>
    /// <param name="up">[intermediate, hidden].</param>
    /// <param name="down">[hidden, intermediate].</param>
    public GatedMlp(ActivationFunction activation, LinearWeight gate, LinearWeight up, LinearWeight down)
    {
        _activation = activation;
        (Gate, Up, Down) = (gate, up, down);
    }

    /// <summary>[intermediate, hidden].</summary>
    public LinearWeight Gate { get; }

    /// <summary>[intermediate, hidden].</summary>
    public LinearWeight Up { get; }

    /// <summary>[hidden, intermediate].</summary>
    public LinearWeight Down { get; }

    internal override void Run(ReadOnlySpan<float> input, int rows, ForwardBuffers buffers, Span<float> output)
    {
        var gated = buffers.Gate.AsSpan(0, rows * Gate.Rows);
        var widened = buffers.Up.AsSpan(0, gated.Length);
        Gate.Multiply(input, rows, gated);
        Up.Multiply(input, rows, widened);
        buffers.Gating.Run(_activation, buffers.Gate, buffers.Up, gated.Length);
        Down.Multiply(gated, rows, output);
    }
}
