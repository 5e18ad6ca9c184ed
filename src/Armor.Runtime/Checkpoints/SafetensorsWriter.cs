namespace Armor.Runtime.Checkpoints;

/// <summary>
/// Writes a safetensors file as its tensors come, in the declared order, to a temporary name beside it; <see cref="Commit"/> gives it its final
/// name. Without a commit nothing remains. Equal input gives equal bytes.
/// </summary>
public sealed class SafetensorsWriter : IDisposable
{
    private readonly SafetensorsStream _stream;
    private readonly IReadOnlyList<TensorDescription> _declared;
    private readonly Dictionary<string, string> _metadata;
    private int _started;

    private SafetensorsWriter(SafetensorsStream stream, IReadOnlyList<TensorDescription> declared, Dictionary<string, string> metadata)
    {
        _stream = stream;
        _declared = declared;
        _metadata = metadata;
    }

    /// <summary>Begins a file.</summary>
    /// <param name="path">The final name; an existing file is replaced at the commit.</param>
    /// <param name="tensors">Every tensor that will be written, in this order.</param>
    /// <param name="metadata">The header's <c>__metadata__</c>, or null for none.</param>
    /// <exception cref="ArgumentException">Two tensors share a name, or one has the reserved name <c>__metadata__</c>.</exception>
    /// <exception cref="CheckpointException">The temporary file cannot be created.</exception>
    public static SafetensorsWriter Create(
        string path, IReadOnlyList<TensorDescription> tensors, IReadOnlyDictionary<string, string>? metadata = null)
        => Create(path, tensors, metadata, SafetensorsStream.OpenFile);

    /// <summary>Writes the stored bytes of the next tensor, or its next piece: a tensor may come in any number of pieces.</summary>
    /// <param name="name">The tensor, as a check of the order.</param>
    /// <param name="bytes">Little-endian elements, row-major.</param>
    /// <exception cref="InvalidOperationException">Another tensor is due, or the tensor would become longer than declared.</exception>
    /// <exception cref="CheckpointException">Writing failed; the disk may be full.</exception>
    public void Write(string name, ReadOnlySpan<byte> bytes)
    {
        Begin(name);
        _stream.Append(bytes);
    }

    /// <summary>Writes elements of the next tensor, or its next piece, rounded to the declared type (to nearest, ties to even).</summary>
    /// <param name="name">The tensor, as a check of the order.</param>
    /// <param name="values">Elements, row-major.</param>
    /// <exception cref="InvalidOperationException">Another tensor is due, or the tensor would become longer than declared.</exception>
    /// <exception cref="CheckpointException">The declared type is not a float, a finite value exceeds its range, or writing failed.</exception>
    public void WriteFloat32(string name, ReadOnlySpan<float> values)
    {
        Begin(name);
        _stream.AppendFloat32(values);
    }

    /// <summary>Completes the file, flushes it to the disk and gives it its final name.</summary>
    /// <exception cref="InvalidOperationException">Not every declared tensor has been written whole.</exception>
    /// <exception cref="CheckpointException">Writing failed; the disk may be full.</exception>
    public void Commit()
    {
        if (_stream.Remaining > 0)
        {
            throw new InvalidOperationException(
                $"Tensor '{_stream.Current?.Name}' of {_stream.Path} lacks {_stream.Remaining} of {_stream.Current?.ByteCount} bytes.");
        }

        // Empty tensors need no call.
        while (_started < _declared.Count && _declared[_started].ByteCount == 0)
        {
            _stream.Begin(_declared[_started++]);
        }

        if (_started < _declared.Count)
        {
            throw new InvalidOperationException(
                $"{_declared.Count - _started} declared tensors of {_stream.Path} were not written, the first '{_declared[_started].Name}'.");
        }

        _stream.Commit(_metadata);
    }

    /// <summary>Closes the file; deletes what was written if it was not committed.</summary>
    public void Dispose() => _stream.Dispose();

    internal static SafetensorsWriter Create(
        string path,
        IReadOnlyList<TensorDescription> tensors,
        IReadOnlyDictionary<string, string>? metadata,
        Func<string, Stream> open,
        string? shownPath = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        var declared = tensors.ToArray();
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var tensor in declared)
        {
            if (tensor.Name == "__metadata__" || !names.Add(tensor.Name))
            {
                throw new ArgumentException($"The tensor name '{tensor.Name}' is reserved or declared twice.", nameof(tensors));
            }
        }

        var copy = new Dictionary<string, string>(metadata ?? new Dictionary<string, string>(), StringComparer.Ordinal);
        var headerLength = SafetensorsHeader.Format(declared, copy).Length;
        return new SafetensorsWriter(new SafetensorsStream(path, headerLength, open, shownPath), declared, copy);
    }

    /// <summary>Writes the next tensor as it is in a folder.</summary>
    internal void Copy(CheckpointFolder source, TensorDescription tensor)
    {
        Begin(tensor.Name);
        _stream.AppendCopy(source, tensor);
    }

    private void Begin(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (_stream.Current?.Name == name)
        {
            return;
        }

        while (_stream.Remaining == 0 && _started < _declared.Count && _declared[_started].ByteCount == 0 && _declared[_started].Name != name)
        {
            _stream.Begin(_declared[_started++]);
        }

        var due = _stream.Remaining > 0 ? _stream.Current?.Name : _started < _declared.Count ? _declared[_started].Name : null;
        if (due != name)
        {
            throw new InvalidOperationException(
                due is null ? $"Every tensor of {_stream.Path} is written; '{name}' is one too many." : $"Tensor '{due}' of {_stream.Path} is due, not '{name}'.");
        }

        _stream.Begin(_declared[_started++]);
    }
}
