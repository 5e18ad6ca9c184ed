using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Streams;

/// <summary>One tensor a batch: the first ones in memory as far as a limit goes, the others in a file, or nowhere where there is none.</summary>
internal sealed class BatchStore : IDisposable
{
    private readonly IReadOnlyList<long[]> shapes;
    private readonly string? path;
    private readonly Tensor?[] memory;
    private readonly bool[] written;
    private readonly int inMemory;
    private ActivationFile? file;

    /// <summary>Starts with no batch stored.</summary>
    /// <param name="shapes">The shape of each batch.</param>
    /// <param name="memoryBytes">What may be kept in memory.</param>
    /// <param name="path">The file for the rest, made when needed; null for none.</param>
    public BatchStore(IReadOnlyList<long[]> shapes, long memoryBytes, string? path)
    {
        this.shapes = shapes;
        this.path = path;
        memory = new Tensor?[shapes.Count];
        written = new bool[shapes.Count];
        long used = 0;
        while (inMemory < shapes.Count && (used += ActivationFile.Bytes(shapes[inMemory])) <= memoryBytes)
        {
            inMemory++;
        }
    }

    /// <summary>Whether a batch that is given to <see cref="Store"/> will be there.</summary>
    public bool Keeps(int batch) => batch < inMemory || path is not null;

    /// <summary>Stores a batch, where there is room; the tensor is shared, so it must not change afterwards.</summary>
    public void Store(int batch, Tensor values)
    {
        if (batch < inMemory)
        {
            Release(batch);
            memory[batch] = values.alias().DetachFromDisposeScope();
        }
        else if (path is not null)
        {
            OpenFile().Write(batch, values);
            written[batch] = true;
        }
    }

    /// <summary>A stored batch, in the caller's dispose scope; null where it is not stored.</summary>
    public Tensor? Load(int batch)
    {
        if (memory[batch] is { } values)
        {
            return values.alias();
        }

        return written[batch] ? file!.Read(batch) : null;
    }

    /// <summary>Frees the memory of a batch; where it lies in the file too, it stays there.</summary>
    public void Release(int batch)
    {
        memory[batch]?.Dispose();
        memory[batch] = null;
    }

    /// <summary>Writes to the file what is only in memory; every batch must be stored.</summary>
    public ActivationFile Complete()
    {
        ActivationFile whole = OpenFile();
        for (int batch = 0; batch < inMemory; batch++)
        {
            whole.Write(batch, memory[batch]!);
        }

        return whole;
    }

    /// <summary>Forgets every batch and deletes the file.</summary>
    public void Clear()
    {
        ReleaseMemory();
        Array.Clear(written);
        file?.Delete();
        file = null;
    }

    /// <summary>Frees the memory and closes the file; it stays.</summary>
    public void Dispose()
    {
        ReleaseMemory();
        file?.Dispose();
    }

    private ActivationFile OpenFile()
    {
        if (file is null)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path!)!);
            file = new ActivationFile(path!, shapes, FileMode.Create);
        }

        return file;
    }

    private void ReleaseMemory()
    {
        for (int batch = 0; batch < inMemory; batch++)
        {
            Release(batch);
        }
    }
}
