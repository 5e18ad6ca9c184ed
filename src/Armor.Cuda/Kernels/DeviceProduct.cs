using Armor.Cuda.Devices;

namespace Armor.Cuda.Kernels;

/// <summary>A weight on the device, and how it is multiplied by there. All is queued in the run's stream; nothing waits.</summary>
internal abstract class DeviceProduct : IDisposable
{
    private readonly List<DeviceMemory> _owned = [];

    /// <summary>d_out.</summary>
    public required int Rows { get; init; }

    /// <summary>d_in.</summary>
    public required int Columns { get; init; }

    /// <summary>The memory that the weight takes.</summary>
    public long Bytes => _owned.Sum(memory => memory.Bytes);

    /// <summary>Queues y = W·x.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="input">Address on the device: [batch, d_in], float32, aligned to 16 bytes.</param>
    /// <param name="batch">At least 1.</param>
    /// <param name="output">Address on the device: [batch, d_out], float32.</param>
    public abstract void Multiply(DeviceRun run, nint input, int batch, nint output);

    /// <summary>Whether a batch's input may be one that is made on the way, by a norm or an activation; such products are in fragments.</summary>
    public virtual bool TakesAnyInput(int batch) => false;

    /// <summary>Whether a batch's product can be added to its output; such products are in fragments.</summary>
    public virtual bool AddsToOutput(int batch) => false;

    /// <summary>Copies a row of a dense weight.</summary>
    public virtual void CopyRow(DeviceRun run, int row, Span<float> destination) => throw new NotSupportedException("Only a dense weight has its rows at hand.");

    /// <summary>Queues looking rows of a dense weight up, by the tokens of a pass.</summary>
    /// <param name="run">Its stream is used.</param>
    /// <param name="rows">Address on the device: [count], <see cref="RowDescription"/>.</param>
    /// <param name="count">Number of rows.</param>
    /// <param name="scale">What they are multiplied by.</param>
    /// <param name="output">Address on the device: [count, d_in], float32.</param>
    public virtual void Embed(DeviceRun run, nint rows, int count, float scale, nint output)
        => throw new NotSupportedException("Only a dense weight has its rows at hand.");

    /// <summary>Takes memory over, to be given back with the weight.</summary>
    public DeviceMemory Own(DeviceMemory memory)
    {
        _owned.Add(memory);
        return memory;
    }

    public void Dispose() => _owned.ForEach(memory => memory.Dispose());
}
