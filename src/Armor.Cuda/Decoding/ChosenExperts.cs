using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>
/// Queues a layer's mixture of experts where the card itself chooses: nothing comes back, so that a token stays one recording, and the weights of those experts alone
/// are read that some row goes through. Every row has a slot for each of its experts; the slots of an expert lie together.
/// </summary>
internal sealed class ChosenExperts : IDisposable
{
    private const uint Threads = 256;
    private const int Eight = 8;

    private readonly ModelConfiguration _configuration;
    private readonly ExpertConfiguration _experts;
    private readonly Activations _activations;
    private readonly DeviceMemory _memory;
    private readonly long _rowsBytes;

    /// <param name="device">The card.</param>
    /// <param name="configuration">Of a model with experts.</param>
    /// <param name="activations">Where vectors lie.</param>
    /// <param name="mostRows">Of a pass.</param>
    public unsafe ChosenExperts(CudaDevice device, ModelConfiguration configuration, Activations activations, int mostRows)
    {
        (_configuration, _experts, _activations) = (configuration, configuration.Experts!, activations);
        _rowsBytes = (long)mostRows * _experts.PerToken * sizeof(ExpertRow);
        _rowsBytes = (_rowsBytes + sizeof(ExpertShare) - 1) / sizeof(ExpertShare) * sizeof(ExpertShare);
        _memory = device.Allocate((3 * _rowsBytes) + ((MostActive(mostRows) + MostEights(mostRows)) * (long)sizeof(ExpertShare)));
    }

    /// <summary>Queues the experts of the first rows of the normed vectors; their sums are what is to be added.</summary>
    /// <param name="run">Its stream is used.</param>
    /// <param name="own">The layer's, which the card can choose among.</param>
    /// <param name="rows">At least 1.</param>
    public unsafe void Queue(DeviceRun run, DeviceExperts own, int rows)
    {
        var (chosen, places, slots) = (_memory.Address, _memory.Address + (nint)_rowsBytes, _memory.Address + (nint)(2 * _rowsBytes));
        var active = slots + (nint)_rowsBytes;
        var shares = new ExpertUse(0, 0, active, MostActive(rows), active + (MostActive(rows) * sizeof(ExpertShare)), MostEights(rows), slots);
        own.Router.Product.Multiply(run, _activations.Normed, rows, _activations.Scores.Address);
        run.Launch(KernelNames.Choose, 1, 1, 1, Threads, new ChooseArguments
        {
            Scores = _activations.Scores.Address,
            Chosen = chosen,
            Places = places,
            Slots = slots,
            Active = active,
            Eights = shares.Eights,
            Rows = rows,
            Experts = _experts.Count,
            PerToken = _experts.PerToken,
            MostActive = shares.ActiveCount,
            MostEights = shares.EightCount,
            IsNormalised = _experts.NormalizesWeights ? 1 : 0,
        });
        own.Inputs!.Multiply(run, new ProductInput(_activations.Normed), rows, shares, _activations.Gate, _activations.Up);
        var gated = new ProductInput(_activations.Gate) { Up = _activations.Up, IsGelu = _configuration.Activation == ActivationFunction.GeluTanh };
        own.Outputs!.Multiply(run, gated, rows, shares with { Slots = 0 }, _activations.ExpertOutput);
        run.Launch(KernelNames.Combine, ((uint)_configuration.HiddenSize + Threads - 1) / Threads, (uint)rows, 1, Threads, new CombineArguments
        {
            Places = places, From = _activations.ExpertOutput, To = _activations.Added, PerToken = _experts.PerToken, Size = _configuration.HiddenSize,
        });
    }

    /// <inheritdoc/>
    public void Dispose() => _memory.Dispose();

    private int MostActive(int rows) => Math.Min(_experts.Count, rows * _experts.PerToken);

    private int MostEights(int rows) => (rows * _experts.PerToken / Eight) + MostActive(rows);
}
