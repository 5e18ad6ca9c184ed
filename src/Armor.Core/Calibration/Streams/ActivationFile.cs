using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Streams;

/// <summary>One float32 tensor a batch, each at a place of its own in a file. Read and written by plain file access: what lies there takes no memory.</summary>
internal sealed class ActivationFile : IDisposable
{
    private readonly IReadOnlyList<long[]> shapes;
    private readonly long[] starts;
    private readonly string[] hashes;
    private readonly SafeFileHandle handle;

    /// <summary>Opens a file, or makes it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="shapes">The shape of each batch.</param>
    /// <param name="mode">Whether it is new.</param>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public ActivationFile(string path, IReadOnlyList<long[]> shapes, FileMode mode)
    {
        Path = path;
        this.shapes = shapes;
        starts = new long[shapes.Count + 1];
        hashes = new string[shapes.Count];
        for (int batch = 0; batch < shapes.Count; batch++)
        {
            starts[batch + 1] = starts[batch] + Bytes(shapes[batch]);
        }

        handle = File.OpenHandle(path, mode, FileAccess.ReadWrite, FileShare.None);
    }

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>The SHA-256 of each batch that was written.</summary>
    public IReadOnlyList<string> Hashes => hashes;

    /// <summary>Bytes of a batch.</summary>
    public static long Bytes(long[] shape) => shape.Aggregate(1L, (product, size) => product * size) * sizeof(float);

    /// <summary>Reads a batch into the caller's dispose scope.</summary>
    /// <exception cref="IOException">The file is damaged or cannot be read.</exception>
    public Tensor Read(int batch)
    {
        using var scope = NewDisposeScope();
        Tensor values = empty(shapes[batch], float32);
        long position = starts[batch];
        foreach ((long first, int count) in TensorMemory.Pieces(values.numel()))
        {
            Span<byte> bytes = MemoryMarshal.AsBytes(TensorMemory.Floats(values, first, count));
            for (int read = 0; read < bytes.Length;)
            {
                int got = RandomAccess.Read(handle, bytes[read..], position);
                read += got > 0 ? got : throw new IOException($"The activations in {Path} end at byte {position}; expected {starts[^1]} bytes.");
                position += got;
            }
        }

        return values.MoveToOuterDisposeScope();
    }

    /// <summary>Writes a batch.</summary>
    /// <exception cref="IOException">Writing failed; the disk may be full.</exception>
    public void Write(int batch, Tensor values)
    {
        using var scope = NewDisposeScope();
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Tensor contiguous = values.contiguous();
        long position = starts[batch];
        foreach ((long first, int count) in TensorMemory.Pieces(contiguous.numel()))
        {
            Span<byte> bytes = MemoryMarshal.AsBytes(TensorMemory.Floats(contiguous, first, count));
            hash.AppendData(bytes);
            try
            {
                RandomAccess.Write(handle, bytes, position);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw new IOException(
                    $"The activations cannot be written to {Path} ({starts[^1]} bytes are needed); what is finished can be resumed: {exception.Message}", exception);
            }

            position += bytes.Length;
        }

        hashes[batch] = Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Whether every batch is there as it was written; takes the hashes over if so.</summary>
    /// <param name="expected">The hashes of an earlier <see cref="Hashes"/>.</param>
    /// <param name="cancellationToken">Stops between batches.</param>
    public bool Verify(IReadOnlyList<string> expected, CancellationToken cancellationToken)
    {
        if (expected.Count != shapes.Count || RandomAccess.GetLength(handle) != starts[^1])
        {
            return false;
        }

        for (int batch = 0; batch < shapes.Count; batch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            Tensor values = Read(batch);
            foreach ((long first, int count) in TensorMemory.Pieces(values.numel()))
            {
                hash.AppendData(MemoryMarshal.AsBytes(TensorMemory.Floats(values, first, count)));
            }

            hashes[batch] = Convert.ToHexStringLower(hash.GetHashAndReset());
            if (hashes[batch] != expected[batch])
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Closes the file; it stays.</summary>
    public void Dispose() => handle.Dispose();

    /// <summary>Closes the file and deletes it.</summary>
    public void Delete()
    {
        Dispose();
        File.Delete(Path);
    }
}
