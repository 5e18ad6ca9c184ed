using System.Numerics;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>act(gate) · up of a pass's rows, by the backend's threads where there is enough of it. One at a time.</summary>
internal sealed class Gating(IKernelThreads? threads) : IParallelWork
{
    // Some microseconds' work: less is not worth handing out.
    private const int LeastElements = 1 << 14;

    private ActivationFunction _activation;
    private float[] _gate = [];
    private float[] _up = [];
    private int _count;

    /// <summary>gate = act(gate) · up.</summary>
    /// <param name="activation">act.</param>
    /// <param name="gate">Changed.</param>
    /// <param name="up">As <paramref name="gate"/>.</param>
    /// <param name="count">How many elements, from the first on.</param>
    public void Run(ActivationFunction activation, float[] gate, float[] up, int count)
    {
        (_activation, _gate, _up, _count) = (activation, gate, up, count);
        if (threads is null || threads.Count == 1 || count < LeastElements)
        {
            ((IParallelWork)this).Run(0, 1);
        }
        else
        {
            threads.Run(this, threads.Count);
        }
    }

    void IParallelWork.Run(int part, int parts)
    {
        // Whole vectors; the last part has the rest.
        var vectors = _count / Vector<float>.Count;
        var first = (int)((long)vectors * part / parts) * Vector<float>.Count;
        var end = part == parts - 1 ? _count : (int)((long)vectors * (part + 1) / parts) * Vector<float>.Count;
        var gate = _gate.AsSpan(first, end - first);
        var up = _up.AsSpan(first, end - first);
        if (_activation == ActivationFunction.GeluTanh)
        {
            RowMath.GateByGelu(gate, up);
        }
        else
        {
            RowMath.GateBySilu(gate, up);
        }
    }
}
