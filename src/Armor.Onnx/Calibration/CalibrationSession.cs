using Armor.Onnx.Files;
using Armor.Onnx.Proto;
using Armor.Onnx.Running;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

namespace Armor.Onnx.Calibration;

/// <summary>Runs a model on calibration inputs and hands out some of its values.</summary>
internal sealed class CalibrationSession : IDisposable
{
    private readonly string _path;
    private readonly string[] _outputs;
    private readonly HashSet<string> _inputs;
    private readonly InferenceSession _session;
    private readonly string? _temporary;

    /// <param name="file">The model; its external data stays where it is.</param>
    /// <param name="values">The values to hand out, in this order.</param>
    /// <param name="options">How to run it.</param>
    public CalibrationSession(OnnxFile file, IReadOnlyList<string> values, OnnxRuntimeOptions options)
    {
        _path = file.FilePath;
        _outputs = [.. Enumerable.Range(0, values.Count).Select(CalibrationGraph.OutputOf)];
        ModelProto copy = CalibrationGraph.Create(file.Model, values);
        if (OnnxModelWriter.SizeOf(copy) < OnnxModelWriter.LargestInline)
        {
            _session = Session.Load(_path, copy.ToByteArray(), options);
        }
        else
        {
            (_session, _temporary) = LoadFromDisk(file, copy, options);
        }

        _inputs = _session.InputNames.Intersect(CalibrationGraph.InputsRead(copy)).ToHashSet(StringComparer.Ordinal);
    }

    /// <summary>Runs the model once.</summary>
    /// <param name="inputs">A tensor for each of its inputs.</param>
    /// <param name="take">Gets each value: its index, its data and its sizes. The data is gone afterwards.</param>
    /// <exception cref="OnnxException">An input is missing or unknown, or ONNX Runtime refuses.</exception>
    public void Run(IReadOnlyCollection<NamedOnnxValue> inputs, Action<int, Memory<float>, long[]> take)
    {
        string[] given = [.. inputs.Select(input => input.Name)];
        string[] missing = [.. _inputs.Except(given)];
        if (missing.Length > 0)
        {
            throw new OnnxException(_path, "a calibration input is missing", $"input '{missing[0]}'", "a tensor of this name", string.Join(", ", given));
        }

        NamedOnnxValue[] read = [.. inputs.Where(input => _inputs.Contains(input.Name))];
        using IDisposableReadOnlyCollection<DisposableNamedOnnxValue> results = Session.Named(_path, () => _session.Run(read, _outputs));
        for (int i = 0; i < _outputs.Length; i++)
        {
            var tensor = (DenseTensor<float>)results[i].AsTensor<float>();
            take(i, tensor.Buffer, [.. tensor.Dimensions.ToArray().Select(size => (long)size)]);
        }
    }

    public void Dispose()
    {
        _session.Dispose();
        if (_temporary is not null)
        {
            Directory.Delete(_temporary, recursive: true);
        }
    }

    // Too large for a message: a copy with all its data in a folder of its own.
    private static (InferenceSession Session, string Folder) LoadFromDisk(OnnxFile file, ModelProto copy, OnnxRuntimeOptions options)
    {
        string folder = Directory.CreateTempSubdirectory("armor-onnx-").FullName;
        try
        {
            string path = Path.Combine(folder, "model.onnx");
            using OnnxFile source = OnnxFile.Wrap(file.FilePath, copy);
            using (var writer = new OnnxModelWriter(path, external: true))
            {
                writer.Write(source, default);
            }

            return (Session.Load(path, options), folder);
        }
        catch
        {
            Directory.Delete(folder, recursive: true);
            throw;
        }
    }
}
