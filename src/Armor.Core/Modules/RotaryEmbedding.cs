using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>
/// The rotary embedding in the layout of Hugging Face checkpoints: element i of a head's first half turns with element i of its second
/// half. The tables are made once for the longest sequence seen and shared by all layers.
/// </summary>
internal sealed class RotaryEmbedding(ModelConfiguration configuration) : IDisposable
{
    private readonly double[] _frequencies =
        RopeScaling.Frequencies(configuration.RopeTheta, configuration.HeadSize, configuration.RopeScaling);

    private readonly Lock _lock = new();
    private Tensor? _cosine;
    private Tensor? _sine;

    /// <summary>Rotates queries or keys.</summary>
    /// <param name="heads">[batch, heads, length, head size].</param>
    /// <param name="firstPosition">The position of the first row of the sequence.</param>
    public Tensor Rotate(Tensor heads, long firstPosition)
    {
        using var scope = NewDisposeScope();
        var (cosine, sine) = Tables(firstPosition, heads.shape[2], heads.dtype, heads.device);
        var halves = heads.chunk(2, -1);
        var (first, second) = (halves[0], halves[1]);
        return cat([(first * cosine) - (second * sine), (second * cosine).Plus(first * sine)], -1).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        _cosine?.Dispose();
        _sine?.Dispose();
    }

    private (Tensor Cosine, Tensor Sine) Tables(long first, long length, ScalarType type, Device device)
    {
        lock (_lock)
        {
            if (_cosine is null || _sine is null || _cosine.shape[0] < first + length || !_cosine.device.Equals(device))
            {
                Build(Math.Max(first + length, _cosine?.shape[0] ?? 0), device);
            }

            return (_cosine!.narrow(0, first, length).to(type), _sine!.narrow(0, first, length).to(type));
        }
    }

    private void Build(long length, Device device)
    {
        Dispose();
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        // Angles in double precision: at position 100,000 a single's angle is off by up to 0.004 radians.
        var angles = TensorArithmetic.Integers(0, length).to(ScalarType.Float64).unsqueeze(1) * tensor(_frequencies).unsqueeze(0);
        _cosine = angles.cos().to(ScalarType.Float32).to(device).DetachFromDisposeScope();
        _sine = angles.sin().to(ScalarType.Float32).to(device).DetachFromDisposeScope();
    }
}
