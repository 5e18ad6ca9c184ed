using System.Runtime.InteropServices;
using Armor.Cuda.Devices;

namespace Armor.Cuda.Kernels;

/// <summary>Whose weights a launch for all experts multiplies by, and which rows: addresses on the device, as slots.cuh describes them.</summary>
/// <param name="Weights">[experts, 3 parts], cores and A.</param>
/// <param name="Wrappers">[experts, 3 parts], B.</param>
/// <param name="Active">[active], the experts that some rows go through.</param>
/// <param name="ActiveCount">At most so many.</param>
/// <param name="Eights">[eights], up to eight slots of one expert.</param>
/// <param name="EightCount">At most so many.</param>
/// <param name="Slots">[slots], the row of each; 0 where slots have inputs of their own.</param>
internal readonly record struct ExpertUse(nint Weights, nint Wrappers, nint Active, int ActiveCount, nint Eights, int EightCount, nint Slots);

/// <summary>
/// The same matrices of every expert, such as gate and up, with tables of their addresses on the card: one launch goes through those experts that the card has chosen
/// and reads no other's weights.
/// </summary>
internal sealed class ExpertProducts : IDisposable
{
    private readonly FragmentProduct[] _parts; // the first expert's; all are like it
    private readonly int _splits;
    private readonly DeviceMemory _weights;
    private readonly DeviceMemory _wrappers;

    /// <param name="run">Its stream is used, and waited for.</param>
    /// <param name="experts">The matrices of each expert, which <see cref="AreAlike"/>.</param>
    /// <param name="perToken">How many experts a row goes through.</param>
    public ExpertProducts(DeviceRun run, IReadOnlyList<FragmentProduct[]> experts, int perToken)
    {
        _parts = experts[0];
        _splits = FragmentProduct.SplitsOf(run, perToken * _parts.Sum(part => part.Rows), _parts[0].Columns, null);
        var weights = new ExpertWeight[experts.Count * FragmentLaunch.MostParts];
        var wrappers = new nint[weights.Length];
        for (var expert = 0; expert < experts.Count; expert++)
        {
            for (var part = 0; part < _parts.Length; part++)
            {
                var (own, place) = (experts[expert][part], (expert * FragmentLaunch.MostParts) + part);
                weights[place] = new ExpertWeight { Weight = own.Weight, Wrapper = own.OutputFragments?.Address ?? 0 };
                wrappers[place] = own.InputFragments?.Address ?? 0;
            }
        }

        _weights = Copy(run, MemoryMarshal.AsBytes(weights.AsSpan()));
        try
        {
            _wrappers = Copy(run, MemoryMarshal.AsBytes(wrappers.AsSpan()));
        }
        catch
        {
            _weights.Dispose();
            throw;
        }
    }

    /// <summary>Whether the matrices of all experts can share launches.</summary>
    public static bool AreAlike(IReadOnlyList<DeviceProduct[]> experts) => experts.All(parts => parts.Select((part, i) => part is FragmentProduct own
        && experts[0][0] is FragmentProduct first && FragmentLaunch.AreAlike(own, first) && own.Rows == experts[0][i].Rows).All(isAlike => isAlike));

    /// <summary>Queues the products of each expert by its rows.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="input">A row or a slot each.</param>
    /// <param name="rows">Of the pass.</param>
    /// <param name="shares">Which rows go through which experts.</param>
    /// <param name="outputs">Addresses on the device, one a part: [slots, d_out], float32.</param>
    public void Multiply(DeviceRun run, ProductInput input, int rows, ExpertUse shares, params ReadOnlySpan<nint> outputs)
        => FragmentLaunch.QueueExperts(
            run, _parts, _splits, input, rows, outputs,
            shares with { Weights = _weights.Address, Wrappers = _parts[0].InputFragments is null ? 0 : _wrappers.Address });

    /// <inheritdoc/>
    public void Dispose()
    {
        _weights.Dispose();
        _wrappers.Dispose();
    }

    private static DeviceMemory Copy(DeviceRun run, ReadOnlySpan<byte> bytes)
    {
        var memory = run.Device.Allocate(bytes.Length);
        try
        {
            var staging = run.Staging(bytes.Length);
            bytes.CopyTo(staging.AsSpan<byte>(bytes.Length));
            memory.CopyFrom(staging, bytes.Length, run.Stream);
            run.Stream.Synchronize();
            return memory;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }
}
