using System.Numerics;
using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>The vectors of a pass on the card, in float32, kept from pass to pass. They move only when more rows come than ever before.</summary>
internal sealed class Activations(CudaDevice device, ModelConfiguration configuration) : IDisposable
{
    private readonly List<DeviceMemory> _owned = [];
    private DeviceMemory? _logits;
    private DeviceMemory? _scores;
    private int _rows;

    /// <summary>Grows with every move: what was recorded with older addresses is of no more use.</summary>
    public int Version { get; private set; }

    /// <summary>The residual stream, [rows, hidden].</summary>
    public nint Residual { get; private set; }

    /// <summary>The residual stream after a norm, [rows, hidden].</summary>
    public nint Normed { get; private set; }

    /// <summary>What a layer's half adds to the residual stream, [rows, hidden].</summary>
    public nint Added { get; private set; }

    /// <summary>[rows, heads × head size].</summary>
    public nint Queries { get; private set; }

    /// <summary>[rows, key/value heads × head size].</summary>
    public nint Keys { get; private set; }

    /// <summary>[rows, key/value heads × head size].</summary>
    public nint Values { get; private set; }

    /// <summary>[rows, heads × head size].</summary>
    public nint Context { get; private set; }

    /// <summary>[rows, intermediate], or of experts [rows · experts of a row, intermediate].</summary>
    public nint Gate { get; private set; }

    /// <summary>Like <see cref="Gate"/>.</summary>
    public nint Up { get; private set; }

    /// <summary>The rows that go through one expert, [rows, hidden]; where there are experts.</summary>
    public nint ExpertInput { get; private set; }

    /// <summary>Sums of squares of the residual stream's parts, [rows, hidden / 128, rounded up].</summary>
    public nint Squares { get; private set; }

    /// <summary>What experts make of their rows, [rows · experts of a row, hidden]; where there are experts.</summary>
    public nint ExpertOutput { get; private set; }

    /// <summary>The router's scores, [rows, experts]; where there are experts.</summary>
    public DeviceMemory Scores => _scores!;

    /// <summary>[rows of the head at once, vocabulary].</summary>
    public DeviceMemory Logits => _logits!;

    /// <summary>Makes room; contents are lost where it was too little. The device must be idle.</summary>
    /// <param name="rows">Of the pass.</param>
    /// <param name="logitRows">Rows of logits at once.</param>
    /// <exception cref="CudaException">There is not as much memory; the old memory is gone, and the next pass asks again.</exception>
    public void Reserve(int rows, int logitRows)
    {
        if (rows > _rows)
        {
            Release();
            Version++;
            var room = (int)BitOperations.RoundUpToPowerOf2((uint)rows);
            Residual = Allocate(room, configuration.HiddenSize);
            Normed = Allocate(room, configuration.HiddenSize);
            Added = Allocate(room, configuration.HiddenSize);
            Queries = Allocate(room, configuration.QuerySize);
            Keys = Allocate(room, configuration.KeyValueSize);
            Values = Allocate(room, configuration.KeyValueSize);
            Context = Allocate(room, configuration.QuerySize);
            Squares = Allocate(room, ProductSum.BlocksOf(configuration.HiddenSize));
            var slots = room * (configuration.Experts?.PerToken ?? 1);
            Gate = Allocate(slots, configuration.IntermediateSize);
            Up = Allocate(slots, configuration.IntermediateSize);
            if (configuration.Experts is { } experts)
            {
                ExpertInput = Allocate(room, configuration.HiddenSize);
                ExpertOutput = Allocate(slots, configuration.HiddenSize);
                Allocate(room, experts.Count);
                _scores = _owned[^1];
            }

            _rows = room;
        }

        var bytes = (long)logitRows * configuration.VocabularySize * sizeof(float);
        if (bytes > (_logits?.Bytes ?? 0))
        {
            _logits?.Dispose();
            _logits = null;
            Version++;
            _logits = device.Allocate(bytes);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        _logits?.Dispose();
        _logits = null;
    }

    private nint Allocate(int rows, int size)
    {
        var memory = device.Allocate((long)rows * size * sizeof(float));
        _owned.Add(memory);
        return memory.Address;
    }

    private void Release()
    {
        _rows = 0;
        _owned.ForEach(memory => memory.Dispose());
        _owned.Clear();
    }
}
