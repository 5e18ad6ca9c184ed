using Armor.Core.Modules;
using Armor.Onnx.Running;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Onnx.Export;

/// <summary>Holds an ONNX decoder against the checkpoint that it was made from.</summary>
public static class OnnxVerifier
{
    private const int DefaultLength = 24;
    private const int Seed = 1;

    /// <summary>
    /// Compares logits: a first half of each sequence at once, the rest token by token through the cache, then the whole at once; with TorchSharp's of
    /// the whole sequence.
    /// </summary>
    /// <param name="decoder">The ONNX file, in the layout of <see cref="OnnxExporter"/>.</param>
    /// <param name="folder">The checkpoint, dense or ARMOR.</param>
    /// <param name="sequences">Token ids, each sequence of at least 2; null for one of random tokens.</param>
    /// <param name="storage">The type that the ONNX file's weights are stored in: the checkpoint's are rounded to it as well.</param>
    /// <param name="runtime">How the ONNX file is run; null for the CPU.</param>
    /// <param name="cancellationToken">Checked between tokens.</param>
    /// <exception cref="OnnxException">The file cannot be run, is no decoder, or gives logits that are not finite.</exception>
    /// <exception cref="CheckpointException">The checkpoint is damaged.</exception>
    /// <exception cref="ArgumentException">A sequence is too short, too long, or has tokens outside the vocabulary.</exception>
    public static OnnxVerification Compare(
        string decoder,
        string folder,
        IReadOnlyList<int[]>? sequences = null,
        TensorElementType storage = TensorElementType.Float32,
        OnnxRuntimeOptions? runtime = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(decoder);
        ArgumentException.ThrowIfNullOrEmpty(folder);
        using CausalLanguageModel model = Reference(folder, storage);
        ModelConfiguration configuration = model.Configuration;
        sequences ??= [RandomTokens(configuration)];
        foreach (int[] sequence in sequences)
        {
            if (sequence.Length < 2 || sequence.Length > configuration.ContextLength || sequence.Any(token => token < 0 || token >= configuration.VocabularySize))
            {
                throw new ArgumentException(
                    $"Sequences must have 2 to {configuration.ContextLength} tokens from 0 to {configuration.VocabularySize - 1}; found one of {sequence.Length}.",
                    nameof(sequences));
            }
        }

        using var session = new DecoderSession(decoder, runtime ?? new OnnxRuntimeOptions());
        double prefill = 0;
        double decode = 0;
        foreach (int[] sequence in sequences)
        {
            float[] expected = Logits(model, sequence);
            session.Forget();
            prefill = Math.Max(prefill, Difference(decoder, session.Append(Row(sequence)), expected, 0));
            session.Forget();
            int first = sequence.Length / 2;
            prefill = Math.Max(prefill, Difference(decoder, session.Append(Row(sequence[..first])), expected, 0));
            for (int position = first; position < sequence.Length; position++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                float[] logits = session.Append(Row(sequence[position..(position + 1)]));
                decode = Math.Max(decode, Difference(decoder, logits, expected, position * configuration.VocabularySize));
            }
        }

        return new OnnxVerification(prefill, decode, sequences.Sum(sequence => sequence.Length));
    }

    private static long[,] Row(int[] tokens)
    {
        var row = new long[1, tokens.Length];
        for (int i = 0; i < tokens.Length; i++)
        {
            row[0, i] = tokens[i];
        }

        return row;
    }

    private static int[] RandomTokens(ModelConfiguration configuration)
    {
        var random = new Random(Seed);
        return [.. Enumerable.Range(0, Math.Min(DefaultLength, configuration.ContextLength)).Select(_ => random.Next(configuration.VocabularySize))];
    }

    private static float[] Logits(CausalLanguageModel model, int[] tokens)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        Tensor ids = tensor(Array.ConvertAll(tokens, token => (long)token), [1, tokens.Length]);
        return model.Forward(ids).contiguous().data<float>().ToArray();
    }

    private static double Difference(string decoder, ReadOnlySpan<float> found, ReadOnlySpan<float> expected, int start)
    {
        double largest = 0;
        for (int i = 0; i < found.Length; i++)
        {
            double difference = Math.Abs((double)found[i] - expected[start + i]);
            if (!double.IsFinite(difference))
            {
                throw new OnnxException(decoder, "a logit is not finite", null, $"{expected[start + i]}", $"{found[i]}");
            }

            largest = Math.Max(largest, difference);
        }

        return largest;
    }

    // The checkpoint with its weights, or factors, rounded as those of the file are.
    private static CausalLanguageModel Reference(string folder, TensorElementType storage)
    {
        CausalLanguageModel model = CausalLanguageModel.Load(folder);
        if (storage == TensorElementType.Float32)
        {
            return model;
        }

        using ArmorCheckpoint? armor = ArmorCheckpoint.IsArmor(folder) ? ArmorCheckpoint.Open(folder) : null;
        HashSet<string> pruned = armor is null ? [] : armor.PrunedLinears.ToHashSet(StringComparer.Ordinal);
        ScalarType type = storage == TensorElementType.Float16 ? ScalarType.Float16 : ScalarType.BFloat16;
        foreach (string name in model.Weights.Keys.Where(name => model.Weights[name].dim() == 2).ToArray())
        {
            using var scope = NewDisposeScope();
            string linear = name[..^".weight".Length];
            if (pruned.Contains(linear))
            {
                ArmorLayer layer = armor!.ReadLayer(linear).RoundedTo(storage);
                model.SetWeight(name, tensor(layer.ToDense(), [layer.Rows, layer.Columns]));
            }
            else
            {
                model.SetWeight(name, model.GetWeight(name).to(type).to(ScalarType.Float32));
            }
        }

        return model;
    }
}
