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
internal sealed class DeviceExperts : IDisposable
{
    private const int MostExperts = 256; // of experts.cu
    private const int MostPerToken = 32;

    /// <param name="run">Its card decides how products are cut.</param>
    /// <param name="weights">Prepared by this backend.</param>
    /// <param name="perToken">How many experts a row goes through.</param>
    /// <param name="vectors">Take biases.</param>
    public DeviceExperts(DeviceRun run, MixtureOfExperts weights, int perToken, DeviceVectors vectors)
    {
        Weights = weights;
        Router = new DeviceLinear(weights.Router, vectors);
        Experts = [.. weights.Experts.Select(expert => new DeviceMlp(run, expert, vectors))];
        DeviceProduct[][] inputs = [.. Experts.Select(expert => new[] { expert.Gate.Product, expert.Up.Product })];
        DeviceProduct[][] outputs = [.. Experts.Select(expert => new[] { expert.Down.Product })];
        var hasBias = weights.Experts.Any(expert => expert.Gate.Bias is not null || expert.Up.Bias is not null || expert.Down.Bias is not null);
        if (!hasBias && Experts.Count <= MostExperts && perToken <= MostPerToken && ExpertProducts.AreAlike(inputs) && ExpertProducts.AreAlike(outputs))
        {
            Inputs = Shared(run, inputs, perToken);
            Outputs = Shared(run, outputs, perToken);
        }
    }

    /// <summary>Knows how a row's experts are chosen.</summary>
    public MixtureOfExperts Weights { get; }

    public DeviceLinear Router { get; }

    public IReadOnlyList<DeviceMlp> Experts { get; }

    /// <summary>Gate and up of all experts, where these are alike, so that the card can choose among them; else null.</summary>
    public ExpertProducts? Inputs { get; }

    /// <summary>Down of all experts, where the card can choose among them; else null.</summary>
    public ExpertProducts? Outputs { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Inputs?.Dispose();
        Outputs?.Dispose();
    }

    private static ExpertProducts Shared(DeviceRun run, DeviceProduct[][] experts, int perToken)
        => new(run, [.. experts.Select(parts => Array.ConvertAll(parts, part => (FragmentProduct)part))], perToken);
}
