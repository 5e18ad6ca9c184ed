using System.Globalization;
using Armor.Core.Evaluation;
using Armor.Core.Modules;
using Armor.Core.Pruning;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using Armor.Runtime.Tokenization;
using TorchSharp;

namespace Armor.Benchmarks.Pruning;

/// <summary>
/// What 8 bits cost: a model pruned with bfloat16 cores; the same cores rounded to 8 bits afterwards, which changes nothing else; and runs that store 8 bits
/// from the start, whose later layers are calibrated on them. Differences are paired over the evaluation's sequences.
/// </summary>
/// <remarks><c>int8 MODEL CALIBRATION EVALUATION [SEQUENCES [SEEDS [MINIMUM LENGTH]]]</c>, preset fast, block 8, 128 samples, bfloat16 wrappers.</remarks>
internal static class QuantisedCoreBenchmark
{
    public static async Task<int> RunAsync(string[] arguments)
    {
        torch.set_num_threads(1);
        string model = arguments[0];
        int sequences = arguments.Length > 3 ? int.Parse(arguments[3], CultureInfo.InvariantCulture) : 128;
        int seeds = arguments.Length > 4 ? int.Parse(arguments[4], CultureInfo.InvariantCulture) : 1;
        int minimum = arguments.Length > 5 ? int.Parse(arguments[5], CultureInfo.InvariantCulture) : 0;
        IReadOnlyList<string> calibration = TextCorpus.SplitDocuments(File.ReadAllText(arguments[1]), minimumLength: minimum);
        int context = ModelConfiguration.Load(model).ContextLength;
        List<int[]> evaluation = [.. TextCorpus
            .TokenizeDocuments(TextCorpus.SplitDocuments(File.ReadAllText(arguments[2]), minimumLength: minimum), ModelTokenizer.Load(model), context)
            .Take(sequences)];
        PerplexityResult dense = Evaluate(model);
        string work = Directory.CreateTempSubdirectory("armor-int8-").FullName;
        try
        {
            Console.WriteLine("| seed | storage, bfloat16 | ΔNLL to dense | 8 bits afterwards: plain scales | least squares | storage, 8 bits | 8 bits from the start |");
            Console.WriteLine("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
            for (int seed = 0; seed < seeds; seed++)
            {
                (string folder, double share) = await PruneAsync("floats", seed, null).ConfigureAwait(false);
                PerplexityResult floats = Evaluate(folder);
                PerplexityResult plain = Evaluate(Rounded(folder, "plain", PlainlyRounded));
                PerplexityResult best = Evaluate(Rounded(folder, "best", core => core.RoundedTo(TensorElementType.Int8)));
                (string own, double ownShare) = await PruneAsync("int8", seed, TensorElementType.Int8).ConfigureAwait(false);
                Console.WriteLine(
                    $"| {seed} | {Text(share, "0.0000")} | {Difference(floats, dense)} | {Difference(plain, floats)} | {Difference(best, floats)} "
                    + $"| {Text(ownShare, "0.0000")} | {Difference(Evaluate(own), floats)} |");
            }
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }

        return 0;

        async Task<(string Folder, double Share)> PruneAsync(string name, int seed, TensorElementType? core)
        {
            string output = Path.Combine(work, FormattableString.Invariant($"{name}{seed}"));
            ModelPruningReport report = await ModelPruner.PruneAsync(model, output, [.. calibration.Take(128)], new ModelPrunerOptions
            {
                Pruner = ArmorPrunerOptions.Fast with { BlockSize = 8, Seed = seed },
                Storage = TensorElementType.BFloat16,
                CoreStorage = core,
            }).ConfigureAwait(false);
            return (output, (double)report.Bytes / report.DenseBytes);
        }

        string Rounded(string folder, string name, Func<SparseCore, SparseCore> round)
        {
            string output = Path.Combine(Path.GetDirectoryName(folder)!, Path.GetFileName(folder) + name);
            using ArmorCheckpoint source = ArmorCheckpoint.Open(folder);
            using CheckpointFolder weights = CheckpointFolder.Open(model);
            ArmorCheckpointWriter.Write(
                weights, output, source.PrunedLinears, source.ElementType, linear =>
                {
                    ArmorLayer layer = source.ReadLayer(linear);
                    return new ArmorLayer(layer.OutputWrapper, round(layer.Core), layer.InputWrapper);
                },
                coreType: TensorElementType.Int8);
            return output;
        }

        PerplexityResult Evaluate(string folder)
        {
            using CausalLanguageModel loaded = CausalLanguageModel.Load(folder);
            return new PerplexityEvaluator(loaded).Evaluate(evaluation);
        }
    }

    /// <summary>Each scale the first bfloat16 from largest / 127 on.</summary>
    private static SparseCore PlainlyRounded(SparseCore core)
    {
        var values = new sbyte[core.Rows * core.RowValueCount];
        var scales = new float[core.Rows * core.RowScaleCount];
        for (int row = 0; row < core.Rows; row++)
        {
            ReadOnlySpan<float> exact = core.RowValues(row);
            for (int group = 0; group < core.RowScaleCount; group++)
            {
                int first = group * core.ValuesPerScale;
                int last = Math.Min(exact.Length, first + core.ValuesPerScale);
                float largest = 0;
                for (int i = first; i < last; i++)
                {
                    largest = Math.Max(largest, Math.Abs(exact[i]));
                }

                float scale = BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(largest / 127) + 0xFFFF) & 0xFFFF0000);
                scales[(row * core.RowScaleCount) + group] = scale;
                for (int i = first; i < last; i++)
                {
                    values[(row * exact.Length) + i] = (sbyte)(scale == 0 ? 0 : MathF.Round(exact[i] / scale));
                }
            }
        }

        return SparseCore.FromQuantised(core.Rows, core.Columns, values, scales, core.Mask.ToArray(), core.Pattern);
    }

    private static string Difference(PerplexityResult result, PerplexityResult reference)
    {
        NllDifference difference = result.Minus(reference);
        return $"{Text(difference.Delta, "+0.00000;-0.00000")} ± {Text(difference.StandardError ?? 0, "0.00000")}";
    }

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
