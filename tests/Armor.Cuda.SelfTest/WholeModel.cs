using System.Diagnostics;
using Armor.Cuda.Kernels;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Cuda.SelfTest;

/// <summary>
/// A whole model of random weights, dense and factorised, run by the same engine: the prompt, then greedy tokens one by one, of one sequence and of several.
/// What is measured is the time that a caller sees, copies and waiting included.
/// </summary>
internal sealed class WholeModel(CudaBackend backend, int layers, TextWriter report, Aims aims)
{
    public const string Factorised = "A·S·B";
    public const string Quantised = "A·S·B int8";

    private const int Block = 128;
    private const TensorElementType Type = TensorElementType.BFloat16;

    /// <summary>Llama 2 7B.</summary>
    public ModelConfiguration Configuration { get; init; } = new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = 4096,
        IntermediateSize = 11008,
        LayerCount = layers,
        AttentionHeadCount = 32,
        KeyValueHeadCount = 32,
        HeadSize = 128,
        VocabularySize = 32000,
        ContextLength = 4096,
        NormEpsilon = 1e-5f,
    };

    /// <summary>Tokens of the prompt.</summary>
    public int Prompt { get; init; } = 512;

    /// <summary>Tokens that follow it.</summary>
    public int Tokens { get; init; } = 128;

    /// <summary>Numbers of sequences.</summary>
    public IReadOnlyList<int> Batches { get; init; } = [1, 4, 16];

    /// <summary>Measures, and prints a table.</summary>
    /// <returns>Whether every pass gave tokens of the vocabulary.</returns>
    public bool Run()
    {
        report.WriteLine("## A whole model");
        report.WriteLine();
        report.WriteLine(FormattableString.Invariant(
            $"{Configuration.LayerCount} layers of {Configuration.HiddenSize}/{Configuration.IntermediateSize}, {Configuration.AttentionHeadCount} heads, a vocabulary of {Configuration.VocabularySize}; random weights in bfloat16, blocks of {Block}, keys and values in float16; a prompt of {Prompt} tokens by our own kernels, then {Tokens} greedy tokens; medians. Embedding and head are dense in every row."));
        report.WriteLine();
        report.WriteLine("| | weights, MB | card's memory, MB | against dense | prompt, tokens/s | sequences | ms a token | tokens/s | weights read, GB/s | against dense |");
        report.WriteLine("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        Dictionary<int, double> dense = [];
        double denseMemory = 0;
        foreach (var form in new[] { Form.Dense, Form.Factorised, Form.Quantised })
        {
            try
            {
                var before = backend.Device!.FreeBytes();
                using var weights = Make(form);
                using var decoder = backend.CreateDecoder(Configuration, weights, TensorElementType.Float16);
                foreach (var batch in Batches)
                {
                    var (prompt, token) = Measure(decoder, batch, out var used);
                    var memory = (before - used) / 1e6;
                    if (form == Form.Dense)
                    {
                        dense[batch] = token;
                        denseMemory = batch == Batches[0] ? memory : denseMemory;
                    }

                    var ofDense = batch == Batches[0] && denseMemory > 0 ? FormattableString.Invariant($"{memory / denseMemory:0.00}") : "";
                    var faster = dense.TryGetValue(batch, out var own) ? FormattableString.Invariant($"{own / token:0.00}×") : "";
                    if (dense.TryGetValue(batch, out var denseToken))
                    {
                        aims.Add(Names[form], batch, denseToken / token, ofDense.Length == 0 ? null : memory / denseMemory);
                    }

                    report.WriteLine(FormattableString.Invariant(
                        $"| {Names[form]} | {weights.Bytes / 1e6:0} | {memory:0} | {ofDense} | {Prompt / prompt:0} | {batch} | {1e3 * token:0.000} | {batch / token:0} | {ReadBytes(weights) / token / 1e9:0} | {faster} |"));
                }
            }
            catch (Exception exception) when (exception is CudaException or InsufficientMemoryException)
            {
                report.WriteLine();
                report.WriteLine($"Left out, {Names[form]}: {exception.Message.ReplaceLineEndings(" ")}");
                report.WriteLine();
            }
        }

        report.WriteLine();
        return dense.Count == Batches.Count;
    }

    private enum Form
    {
        Dense,
        Factorised,
        Quantised,
    }

    private static Dictionary<Form, string> Names { get; } = new() { [Form.Dense] = "dense", [Form.Factorised] = Factorised, [Form.Quantised] = Quantised };

    /// <summary>What a token reads: all but the embedding, of which it is a row.</summary>
    private static long ReadBytes(DecoderWeights weights) => weights.Bytes - weights.Embedding.Bytes;

    private DecoderWeights Make(Form form)
    {
        var prepared = new List<KernelWeight>();
        try
        {
            var (hidden, inner) = (Configuration.HiddenSize, Configuration.IntermediateSize);
            var embedding = Matrix(Form.Dense, Configuration.VocabularySize, hidden);
            var ones = Enumerable.Repeat(1f, hidden).ToArray();
            var decoderLayers = Enumerable.Range(0, Configuration.LayerCount).Select(_ => new DecoderLayerWeights
            {
                AttentionNorm = ones,
                Query = Linear(Configuration.QuerySize, hidden),
                Key = Linear(Configuration.KeyValueSize, hidden),
                Value = Linear(Configuration.KeyValueSize, hidden),
                QueryNorm = null,
                KeyNorm = null,
                AttentionOutput = Linear(hidden, Configuration.QuerySize),
                AttentionOutputNorm = null,
                MlpNorm = ones,
                FeedForward = new GatedMlp(Configuration.Activation, Linear(inner, hidden), Linear(inner, hidden), Linear(hidden, inner)),
                MlpOutputNorm = null,
            }).ToArray();
            var head = new LinearWeight(Matrix(Form.Dense, Configuration.VocabularySize, hidden), null);
            return new DecoderWeights { Embedding = embedding, Layers = decoderLayers, FinalNorm = ones, Head = head, Matrices = prepared };
        }
        catch
        {
            prepared.ForEach(weight => weight.Dispose());
            throw;
        }

        LinearWeight Linear(int rows, int columns) => new(Matrix(form, rows, columns), null);

        KernelWeight Matrix(Form own, int rows, int columns)
        {
            var run = backend.Enter();
            try
            {
                // Random numbers between −1 and 1 would overflow after some layers, but for the norms: nothing else grows.
                DeviceProduct product = own == Form.Dense
                    ? Synthetic.Dense(run, rows, columns, Type)
                    : Synthetic.Core(run, rows, columns, Block, Type, own == Form.Quantised);
                var weight = new CudaWeight(backend, own == Form.Dense ? KernelOperation.Dense : KernelOperation.Armor, Type, product);
                prepared.Add(weight);
                return weight;
            }
            finally
            {
                backend.Leave();
            }
        }
    }

    /// <summary>Seconds of the prompt and of a token, and how much memory is left meanwhile.</summary>
    private (double Prompt, double Token) Measure(IDecoder decoder, int batch, out long free)
    {
        var sequences = Enumerable.Range(0, batch).Select(_ => decoder.CreateSequence()).ToArray();
        try
        {
            var random = new Random(1);
            var tokens = Enumerable.Range(0, Prompt).Select(_ => random.Next(Configuration.VocabularySize)).ToArray();
            var next = new int[batch];
            var prompt = double.PositiveInfinity;
            for (var i = 0; i < batch; i++)
            {
                sequences[i].Reserve(Prompt + Tokens);
            }

            for (var pass = 0; pass < 3; pass++)
            {
                var start = Stopwatch.GetTimestamp();
                Ask(decoder, tokens, sequences[0], next.AsSpan(0, 1));
                prompt = Math.Min(prompt, Stopwatch.GetElapsedTime(start).TotalSeconds);
            }

            for (var i = 1; i < batch; i++)
            {
                Ask(decoder, tokens, sequences[i], next.AsSpan(i, 1));
            }

            var seconds = new double[Tokens];
            for (var i = 0; i < Tokens; i++)
            {
                DecoderSegment[] segments = [.. sequences.Select((sequence, row) => new DecoderSegment(sequence, Prompt + i, row, 1, false))];
                var start = Stopwatch.GetTimestamp();
                decoder.Run(next, segments, DecoderOutput.OfLikeliest(next), CancellationToken.None);
                seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }

            free = backend.Device!.FreeBytes();
            return (prompt, seconds.Order().ElementAt(Tokens / 2));
        }
        finally
        {
            Array.ForEach(sequences, sequence => sequence.Dispose());
        }
    }

    private static void Ask(IDecoder decoder, int[] tokens, IDecoderSequence sequence, Span<int> next)
    {
        for (var first = 0; first < tokens.Length; first += decoder.MostRows)
        {
            var rows = Math.Min(decoder.MostRows, tokens.Length - first);
            var output = first + rows == tokens.Length ? DecoderOutput.OfLikeliest(next) : default;
            decoder.Run(tokens.AsSpan(first, rows), [new DecoderSegment(sequence, first, 0, rows, false)], output, CancellationToken.None);
        }
    }
}
