using System.Text;

namespace Armor.Cuda.Kernels;

/// <summary>The kernels' CUDA C++, as embedded in this assembly.</summary>
internal static class KernelSource
{
    /// <summary>In the order in which they are joined.</summary>
    public static readonly string[] Files =
    [
        "platform.cuh", "forms.cuh", "slots.cuh", "parts.cuh", "finish.cuh", "product.cu", "prefill.cu", "input.cu", "rows.cu", "expand.cu", "layer.cu", "heads.cu",
        "attention.cuh", "attention.cu", "attention_prompt.cu", "logits.cu", "experts.cu",
    ];

    /// <summary>All of it, one translation unit.</summary>
    public static string All { get; } = string.Join('\n', Files.Select(Read));

    /// <summary>One file.</summary>
    public static string Read(string file)
    {
        using var stream = typeof(KernelSource).Assembly.GetManifestResourceStream($"Armor.Cuda.Kernels.{file}")
            ?? throw new InvalidOperationException($"The assembly lacks its kernel source {file}.");
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
