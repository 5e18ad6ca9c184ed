using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>Copies values into a weight that keeps its type, device and identity.</summary>
internal static class WeightCopy
{
    public static void Into(Tensor target, Tensor values, string name)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (!target.shape.SequenceEqual(values.shape))
        {
            throw new ArgumentException(
                $"{name}: expected shape [{string.Join(", ", target.shape)}], found [{string.Join(", ", values.shape)}].", nameof(values));
        }

        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        target.copy_(values);
    }
}
