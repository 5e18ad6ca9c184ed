using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Cuda.SelfTest;

/// <summary>Products of every kind against float64 on the processor: normalised mean square error, bands around the output that must stay.</summary>
internal sealed class Conformance(CudaBackend backend, TextWriter report)
{
    private const int Guard = 19;
    private const float Sentinel = -12345.678f;

    private static readonly TensorElementType[] Types = [TensorElementType.Float32, TensorElementType.BFloat16, TensorElementType.Float16];

    private readonly ReferenceBackend _reference = new();
    private int _passed;
    private int _failed;

    /// <summary>Whether all are right.</summary>
    public bool Run(bool isQuick)
    {
        report.WriteLine("## Conformance");
        report.WriteLine();
        report.WriteLine("| weight | type | inputs | normalised mean square error | allowed | |");
        report.WriteLine("| --- | --- | --- | --- | --- | --- |");
        foreach (var type in Types)
        {
            foreach (var (rows, columns) in new[] { (1, 1), (3, 7), (17, 65), (130, 255), (130, 1100), (9, 2100) })
            {
                CheckDense(rows, columns, type, 1, 5, 17);
            }

            foreach (var (rows, columns, outputBlock, inputBlock) in new (int, int, int?, int?)[]
            {
                (1, 4, null, null), (17, 36, null, null), (139, 1100, null, null), (5, 4, 5, 2), (172, 64, 43, 64), (352, 128, 8, 8), (128, 352, 16, 16),
                (256, 768, 128, 128), (512, 256, 256, 256), (160, 1700, 32, null), (160, 320, null, 64),
            })
            {
                CheckLayer(RandomWeights.Layer(rows, columns, outputBlock, inputBlock), type, 1, 2, 8, 9, 16, 17, 70);
            }

            CheckLayer(RandomWeights.Layer(3, 80, null, null, new SparsityPattern(5, 16)), type, 2);
            CheckLayer(RandomWeights.Layer(139, 516, null, 12).RoundedTo(type, TensorElementType.Int8), type, 1, 9);
            CheckLayer(RandomWeights.Layer(256, 768, 128, 128).RoundedTo(type, TensorElementType.Int8), type, 1, 9);
        }

        foreach (var type in Types.Skip(1))
        {
            // Large enough for every multiprocessor to have work, and for NVIDIA's libraries.
            CheckLayer(RandomWeights.Layer(1024, isQuick ? 1024 : 4096, 128, 128), type, 1, 16, 128, 200);
        }

        report.WriteLine();
        report.WriteLine($"{_passed} passed, {_failed} failed.");
        report.WriteLine();
        return _failed == 0;
    }

    /// <summary>Each vector between two factors is rounded once: 2⁻⁹ of it at most in bfloat16, 2⁻¹² in float16.</summary>
    private static double Allowed(TensorElementType type) => type switch
    {
        TensorElementType.BFloat16 => 1.2e-5,
        TensorElementType.Float16 => 2e-7,
        _ => 1e-11,
    };

    private void CheckDense(int rows, int columns, TensorElementType type, params ReadOnlySpan<int> batches)
    {
        var source = DenseWeightSource.FromMemory(RandomWeights.Values(rows * columns, rows + columns), rows, columns);
        foreach (var batch in batches)
        {
            Check($"dense {rows}×{columns}", type, batch, () => backend.PrepareDense(source, type), () => _reference.PrepareDense(source, type));
        }
    }

    private void CheckLayer(ArmorLayer layer, TensorElementType type, params ReadOnlySpan<int> batches)
    {
        // The reference rounds a quantised core's values to the type as well; they are exact in float32.
        var rounded = layer.RoundedTo(type, layer.Core.IsQuantised ? TensorElementType.Int8 : null);
        var name = $"{layer.Core.Pattern}{(layer.Core.IsQuantised ? " int8" : "")} {layer.Rows}×{layer.Columns}, blocks {layer.OutputWrapper?.BlockSize ?? 1} and {layer.InputWrapper?.BlockSize ?? 1}";
        foreach (var batch in batches)
        {
            Check(name, type, batch, () => backend.PrepareLayer(layer, type), () => _reference.PrepareLayer(rounded, TensorElementType.Float32));
        }
    }

    private void Check(string name, TensorElementType type, int batch, Func<KernelWeight> make, Func<KernelWeight> makeReference)
    {
        string outcome;
        double error = double.NaN;
        try
        {
            using var weight = make();
            using var reference = makeReference();
            var input = RandomWeights.Values((batch * weight.Columns) + 1, batch);
            var buffer = new float[(batch * weight.Rows) + (2 * Guard)];
            Array.Fill(buffer, Sentinel);
            var output = buffer.AsSpan(Guard, batch * weight.Rows);
            output.Fill(float.NaN);
            var expected = new float[output.Length];
            weight.Multiply(input.AsSpan(1), batch, output);
            reference.Multiply(input.AsSpan(1), batch, expected);
            double square = 0, norm = 0;
            for (var i = 0; i < expected.Length; i++)
            {
                square += Math.Pow(output[i] - (double)expected[i], 2);
                norm += Math.Pow(expected[i], 2);
            }

            error = square / norm;
            var isGuarded = buffer.AsSpan(0, Guard).IndexOfAnyExcept(Sentinel) < 0 && buffer.AsSpan(buffer.Length - Guard).IndexOfAnyExcept(Sentinel) < 0;

            // One output alone may cancel to nearly nothing.
            var allowed = Allowed(type) * (expected.Length < 16 ? 100 : 4);
            outcome = error <= allowed && isGuarded ? "" : isGuarded ? "WRONG" : "WRITTEN BEYOND";
        }
        catch (Exception exception) when (exception is CudaException or NotSupportedException)
        {
            outcome = exception.Message.ReplaceLineEndings(" ");
        }

        _ = outcome.Length == 0 ? _passed++ : _failed++;
        if (outcome.Length > 0 || batch is 1 or 16)
        {
            report.WriteLine(FormattableString.Invariant($"| {name} | {type} | {batch} | {error:0.0e0} | {Allowed(type):0.0e0} | {outcome} |"));
        }
    }
}
