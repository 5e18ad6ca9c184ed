using Armor.Cuda.Kernels;
using Armor.Runtime.Generation;

namespace Armor.Cuda.Decoding;

/// <summary>An MLP, or one expert, on the card.</summary>
internal sealed class DeviceMlp
{
    /// <param name="run">Its card decides how products are cut.</param>
    /// <param name="weights">Prepared by this backend.</param>
    /// <param name="vectors">Take biases.</param>
    public DeviceMlp(DeviceRun run, GatedMlp weights, DeviceVectors vectors)
    {
        Gate = new DeviceLinear(weights.Gate, vectors);
        Up = new DeviceLinear(weights.Up, vectors);
        Down = new DeviceLinear(weights.Down, vectors);
        Inputs = new ProductGroup(run, Gate.Product, Up.Product);
    }

    public DeviceLinear Gate { get; }

    public DeviceLinear Up { get; }

    /// <summary>Gate and up together.</summary>
    public ProductGroup Inputs { get; }

    public DeviceLinear Down { get; }
}

/// <summary>A mixture of experts on the card.</summary>
internal sealed class DeviceExperts(DeviceRun run, MixtureOfExperts weights, DeviceVectors vectors)
{
    /// <summary>Knows how a row's experts are chosen.</summary>
    public MixtureOfExperts Weights => weights;

    public DeviceLinear Router { get; } = new(weights.Router, vectors);

    public IReadOnlyList<DeviceMlp> Experts { get; } = [.. weights.Experts.Select(expert => new DeviceMlp(run, expert, vectors))];
}
