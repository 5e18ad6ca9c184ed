using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>
/// The rotary embedding in the layout of Hugging Face checkpoints: element i of the rotated part's first half turns with element i of its second
/// half; elements beyond the rotated part stay. The tables are made once for the longest sequence seen and shared by all layers of a kind.
/// </summary>
internal sealed class RotaryEmbedding(ModelConfiguration configuration) : IDisposable
{
    private readonly Dictionary<(bool IsLocal, bool IsLong), (Tensor Cosine, Tensor Sine)> _tables = [];
    private readonly Lock _lock = new();

    /// <summary>Rotates queries or keys.</summary>
    /// <param name="heads">[batch, heads, length, head size].</param>
    /// <param name="firstPosition">The position of the first row of the sequence.</param>
    /// <param name="isLocal">Whether the layer rotates by the local base.</param>
    /// <param name="isLong">Whether the sequence is beyond the original context.</param>
    public Tensor Rotate(Tensor heads, long firstPosition, bool isLocal, bool isLong)
    {
        using var scope = NewDisposeScope();
        var (cosine, sine) = Tables((isLocal, isLong), firstPosition, heads.shape[2], heads.dtype, heads.device);
        long half = configuration.RotarySize / 2;
        var (first, second) = (heads.narrow(3, 0, half), heads.narrow(3, half, half));
        List<Tensor> parts = [(first * cosine) - (second * sine), (second * cosine).Plus(first * sine)];
        if (heads.shape[3] > 2 * half)
        {
            parts.Add(heads.narrow(3, 2 * half, heads.shape[3] - (2 * half)));
        }

        return cat(parts, -1).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        foreach (var (cosine, sine) in _tables.Values)
        {
            cosine.Dispose();
            sine.Dispose();
        }

        _tables.Clear();
    }

    private (Tensor Cosine, Tensor Sine) Tables((bool IsLocal, bool IsLong) kind, long first, long length, ScalarType type, Device device)
    {
        lock (_lock)
        {
            if (!_tables.TryGetValue(kind, out var tables) || tables.Cosine.shape[0] < first + length || !tables.Cosine.device.Equals(device))
            {
                var longest = Math.Max(first + length, tables.Cosine?.shape[0] ?? 0);
                tables.Cosine?.Dispose();
                tables.Sine?.Dispose();
                tables = _tables[kind] = Build(configuration.GetRotation(kind.IsLocal, kind.IsLong), longest, device);
            }

            return (tables.Cosine.narrow(0, first, length).to(type), tables.Sine.narrow(0, first, length).to(type));
        }
    }

    private static (Tensor Cosine, Tensor Sine) Build(Rotation rotation, long length, Device device)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        // Angles in double precision: at position 100,000 a single's angle is off by up to 0.004 radians.
        var frequencies = tensor(rotation.Frequencies.ToArray()).unsqueeze(0);
        var angles = TensorArithmetic.Integers(0, length).to(ScalarType.Float64).unsqueeze(1) * frequencies;
        return (Single(angles.cos()), Single(angles.sin()));

        Tensor Single(Tensor values) => values.Times(rotation.Magnitude).to(ScalarType.Float32).to(device).DetachFromDisposeScope();
    }
}
