using Armor.Onnx.Proto;
using Google.Protobuf;

namespace Armor.Onnx.Files;

/// <summary>An ONNX model as a file: its messages, and its external data memory-mapped. Not safe for several threads.</summary>
internal sealed class OnnxFile : IDisposable
{
    /// <summary>The operator sets of the default domain that are known here.</summary>
    public const int OldestOpset = 7;

    /// <summary>See <see cref="OldestOpset"/>.</summary>
    public const int NewestOpset = 26;

    // A protocol buffers message is limited to 2 GiB.
    private const long LargestMessage = int.MaxValue;

    private readonly Dictionary<string, ExternalFile> _external = new(StringComparer.Ordinal);

    private OnnxFile(string path, ModelProto model)
    {
        FilePath = path;
        Model = model;
    }

    /// <summary>The path as it was given.</summary>
    public string FilePath { get; }

    /// <summary>All of the file but external data.</summary>
    public ModelProto Model { get; }

    /// <summary>The main graph.</summary>
    public GraphProto Graph => Model.Graph;

    /// <summary>The version of the default domain's operators.</summary>
    public long Opset => Model.OpsetImport.First(IsDefaultDomain).Version;

    /// <summary>Whether any tensor lies outside the message.</summary>
    public bool HasExternalData => TensorVisitor.Of(Model).Any(tensor => tensor.DataLocation == TensorProto.Types.DataLocation.External);

    /// <summary>Reads and checks a file; external data is looked at when a tensor is read.</summary>
    /// <exception cref="OnnxException">The file cannot be read, is no whole ONNX model, or of an operator set that is not known.</exception>
    public static OnnxFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return new OnnxFile(path, Check(path, Parse(path)));
    }

    /// <summary>Wraps a model that was made in memory.</summary>
    /// <param name="path">For messages, and the folder of its external data.</param>
    /// <param name="model">Taken over.</param>
    public static OnnxFile Wrap(string path, ModelProto model) => new(path, Check(path, model));

    /// <summary>The mapped file of an external location.</summary>
    /// <inheritdoc cref="ExternalFile.Locate" path="/exception"/>
    public ExternalFile External(string location, string part)
    {
        if (!_external.TryGetValue(location, out ExternalFile? file))
        {
            string path = ExternalFile.Locate(FilePath, location, part);
            try
            {
                file = ExternalFile.Open(path);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw new OnnxException(path, $"the external data cannot be read: {exception.Message.TrimEnd('.')}", part, innerException: exception);
            }

            _external.Add(location, file);
        }

        return file;
    }

    public void Dispose()
    {
        foreach (ExternalFile file in _external.Values)
        {
            file.Dispose();
        }

        _external.Clear();
    }

    private static ModelProto Parse(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16);
            if (stream.Length > LargestMessage)
            {
                throw new OnnxException(path, "the file is too large for a protocol buffers message", null, "at most 2 GiB, with external data", $"{stream.Length} bytes");
            }

            return ModelProto.Parser.ParseFrom(stream);
        }
        catch (InvalidProtocolBufferException exception)
        {
            throw new OnnxException(path, $"not a whole ONNX model: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
        catch (Exception exception) when (exception is (IOException or UnauthorizedAccessException) and not OnnxException)
        {
            throw new OnnxException(
                path, exception is FileNotFoundException or DirectoryNotFoundException ? "the file does not exist" : $"the file cannot be read: {exception.Message.TrimEnd('.')}",
                innerException: exception);
        }
    }

    private static ModelProto Check(string path, ModelProto model)
    {
        if (model.Graph is null || model.Graph.Node.Count == 0)
        {
            throw new OnnxException(path, "not a whole ONNX model: it has no graph of nodes", null, "a graph", model.Graph is null ? "none" : "an empty one");
        }

        long[] versions = [.. model.OpsetImport.Where(IsDefaultDomain).Select(set => set.Version)];
        if (versions.Length != 1)
        {
            throw new OnnxException(path, "the model must name one operator set of the default domain", null, "one", $"{versions.Length}");
        }

        return versions[0] is >= OldestOpset and <= NewestOpset
            ? model
            : throw new OnnxException(path, "the operator set is not known", null, $"version {OldestOpset} to {NewestOpset} of the default domain", $"{versions[0]}");
    }

    private static bool IsDefaultDomain(OperatorSetIdProto set) => set.Domain is "" or "ai.onnx";
}
