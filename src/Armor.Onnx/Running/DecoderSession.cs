using Microsoft.ML.OnnxRuntime;
using OrtElementType = Microsoft.ML.OnnxRuntime.Tensors.TensorElementType;

namespace Armor.Onnx.Running;

/// <summary>
/// One batch of sequences on an ONNX decoder with a key/value cache: tokens in, logits out, the cache in between. Reads the layout that
/// <see cref="Export.OnnxExporter"/> writes.
/// </summary>
internal sealed class DecoderSession : IDisposable
{
    private const string Tokens = "input_ids";
    private const string Mask = "attention_mask";
    private const string Logits = "logits";
    private const string PastPrefix = "past_key_values.";
    private const string PresentPrefix = "present.";

    private readonly string _path;
    private readonly InferenceSession _session;
    private readonly string[] _outputs;
    private Dictionary<string, OrtValue> _past = [];

    public DecoderSession(string path, OnnxRuntimeOptions options)
    {
        _path = path;
        _session = Session.Load(path, options);
        _outputs = [Logits, .. Past.Select(name => PresentPrefix + name[PastPrefix.Length..])];
        string[] missing = [.. new[] { Tokens, Mask }.Except(_session.InputNames), .. _outputs.Except(_session.OutputNames)];
        if (missing.Length > 0)
        {
            _session.Dispose();
            throw new OnnxException(path, "not a decoder with a key/value cache", null, $"the inputs and outputs {string.Join(", ", missing)}", "none of these names");
        }
    }

    private IEnumerable<string> Past => _session.InputNames.Where(name => name.StartsWith(PastPrefix, StringComparison.Ordinal));

    /// <summary>Appends tokens to every sequence.</summary>
    /// <param name="tokens">[batch, length].</param>
    /// <param name="mask">[batch, length so far + length]: 1 for tokens, 0 for padding; null for no padding.</param>
    /// <returns>[batch, length, vocabulary].</returns>
    public float[] Append(long[,] tokens, long[,]? mask = null)
    {
        (int batch, int length) = (tokens.GetLength(0), tokens.GetLength(1));
        long before = _past.Count == 0 ? 0 : _past.Values.First().GetTensorTypeAndShape().Shape[2];
        mask ??= Ones(batch, before + length);
        using OrtValue ids = OrtValue.CreateTensorValueFromMemory(tokens.Cast<long>().ToArray(), [batch, length]);
        using OrtValue seen = OrtValue.CreateTensorValueFromMemory(mask.Cast<long>().ToArray(), [batch, mask.GetLength(1)]);
        var inputs = new Dictionary<string, OrtValue> { [Tokens] = ids, [Mask] = seen };
        foreach (string name in Past)
        {
            inputs.Add(name, _past.GetValueOrDefault(name) ?? (_past[name] = Empty(name, batch)));
        }

        using var run = new RunOptions();
        IDisposableReadOnlyCollection<OrtValue> results = Session.Named(_path, () => _session.Run(run, inputs, _outputs));
        float[] logits = results[0].GetTensorDataAsSpan<float>().ToArray();
        results[0].Dispose();
        Forget();
        _past = _outputs.Zip(results).Skip(1).ToDictionary(pair => PastPrefix + pair.First[PresentPrefix.Length..], pair => pair.Second);
        return logits;
    }

    /// <summary>Starts over.</summary>
    public void Forget()
    {
        foreach (OrtValue value in _past.Values)
        {
            value.Dispose();
        }

        _past = [];
    }

    public void Dispose()
    {
        Forget();
        _session.Dispose();
    }

    private static long[,] Ones(int batch, long length)
    {
        var ones = new long[batch, length];
        for (int i = 0; i < batch * length; i++)
        {
            ones[i / length, i % length] = 1;
        }

        return ones;
    }

    private OrtValue Empty(string name, int batch)
    {
        NodeMetadata input = _session.InputMetadata[name];
        OrtElementType type = input.ElementDataType;
        return OrtValue.CreateAllocatedTensorValue(OrtAllocator.DefaultInstance, type, [batch, input.Dimensions[1], 0, input.Dimensions[3]]);
    }
}
