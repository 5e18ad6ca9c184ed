using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Modules;

/// <summary>Random weights for a new model.</summary>
internal static class WeightInitializer
{
    private const double Deviation = 0.02;

    public static Func<TensorShape, Tensor> Create(ModelConfiguration configuration, long seed)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        // A generator of its own: the process-wide one is the application's.
        var generator = new Generator((ulong)seed);
        var residualDeviation = Deviation / Math.Sqrt(2 * configuration.LayerCount);
        string[] residual =
        [
            .. ModelShapes.Linears(configuration)
                .Where(linear => linear.Group is LinearGroup.AttentionOutput or LinearGroup.MlpOutput)
                .Select(linear => "." + linear.Name + ".weight"),
        ];
        return shape =>
        {
            if (shape.Shape.Count == 1)
            {
                var isZero = configuration.HasUnitOffsetNorms || shape.Name.EndsWith(".bias", StringComparison.Ordinal);
                return isZero ? zeros([.. shape.Shape]) : ones([.. shape.Shape]);
            }

            var addsToResidual = residual.Any(name => shape.Name.EndsWith(name, StringComparison.Ordinal));
            using var normal = randn([.. shape.Shape], generator: generator);
            return normal.Times(addsToResidual ? residualDeviation : Deviation);
        };
    }
}
