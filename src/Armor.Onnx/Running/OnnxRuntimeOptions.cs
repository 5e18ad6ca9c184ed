using System.Globalization;
using Microsoft.ML.OnnxRuntime;

namespace Armor.Onnx.Running;

/// <summary>How ONNX Runtime runs a model.</summary>
public sealed record OnnxRuntimeOptions
{
    /// <summary>Where it computes.</summary>
    public OnnxExecutionProvider Provider { get; init; }

    /// <summary>The GPU, where the provider is one.</summary>
    public int DeviceId { get; init; }

    /// <summary>Threads of the CPU; null for ONNX Runtime's own choice.</summary>
    public int? Threads { get; init; }

    /// <summary>
    /// TensorRT: multiply by 2:4 weights on sparse tensor cores where that is faster (<c>trt_sparsity_enable</c>). It looks at weights that are stored
    /// with their zeros, <see cref="SparseCoreFormat.Dense"/>.
    /// </summary>
    public bool UsesSparsity { get; init; } = true;

    /// <summary>TensorRT: compute in float16 where that is faster (<c>trt_fp16_enable</c>).</summary>
    public bool UsesFloat16 { get; init; }

    /// <summary>Has the last word on a session's options; null for none.</summary>
    public Action<SessionOptions>? Configure { get; init; }

    /// <summary>Options of a session as these options say.</summary>
    /// <exception cref="OnnxRuntimeException">The native package that was brought does not have the provider.</exception>
    public SessionOptions CreateSessionOptions()
    {
        var session = new SessionOptions();
        try
        {
            session.LogSeverityLevel = OrtLoggingLevel.ORT_LOGGING_LEVEL_ERROR;
            if (Threads is { } threads)
            {
                session.IntraOpNumThreads = threads;
            }

            if (Provider == OnnxExecutionProvider.TensorRt)
            {
                using var options = new OrtTensorRTProviderOptions();
                options.UpdateOptions(new Dictionary<string, string>
                {
                    ["device_id"] = DeviceId.ToString(CultureInfo.InvariantCulture),
                    ["trt_sparsity_enable"] = UsesSparsity ? "1" : "0",
                    ["trt_fp16_enable"] = UsesFloat16 ? "1" : "0",
                });
                session.AppendExecutionProvider_Tensorrt(options);
            }

            if (Provider is OnnxExecutionProvider.TensorRt or OnnxExecutionProvider.Cuda)
            {
                // Not by the device's number alone: that is an entry point which packages for the CPU lack.
                using var options = new OrtCUDAProviderOptions();
                options.UpdateOptions(new Dictionary<string, string> { ["device_id"] = DeviceId.ToString(CultureInfo.InvariantCulture) });
                session.AppendExecutionProvider_CUDA(options);
            }

            Configure?.Invoke(session);
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Checks all options.</summary>
    /// <exception cref="ArgumentException">One or more are out of range; the message lists every one.</exception>
    public void Validate()
    {
        List<string> violations = [];
        if (!Enum.IsDefined(Provider))
        {
            violations.Add($"{nameof(Provider)} must be Cpu, Cuda or TensorRt; found {Provider}.");
        }

        if (DeviceId < 0)
        {
            violations.Add($"{nameof(DeviceId)} must be at least 0; found {DeviceId}.");
        }

        if (Threads is < 1)
        {
            violations.Add($"{nameof(Threads)} must be at least 1; found {Threads}.");
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(Environment.NewLine, violations));
        }
    }
}
