using System.Diagnostics;
using System.Globalization;
using Armor.Core.Modules;
using Armor.Runtime.Models;
using Armor.TinyModel.Corpus;
using Armor.TinyModel.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.TinyModel.Training;

/// <summary>The training loop. It goes on from the working folder's checkpoint where there is one.</summary>
internal sealed class Trainer(TrainingOptions options)
{
    /// <summary>File name of the state in the working folder.</summary>
    public const string StateFile = "state.bin";

    private const int HeldOutSequences = 64;

    private readonly BytePairEncoder _encoder = new(TokenizerFiles.Read(options.Work));
    private readonly string _state = Path.Combine(options.Work, StateFile);

    /// <summary>Trains to the last step.</summary>
    public void Run(CancellationToken cancellation)
    {
        set_num_threads(options.Threads);
        var vocabulary = _encoder.Vocabulary;
        var configuration = options.Model(vocabulary.Size, vocabulary.BeginToken, vocabulary.EndToken);
        Log($"{ModelShapes.ParameterCount(configuration):N0} parameters, {options}");
        using var model = new CausalLanguageModel(configuration, options.Seed);
        using var optimizer = new AdamW(model.Weights, options);
        model.RequireGradients(true);
        model.ComputeType = options.HalfPrecision ? ScalarType.BFloat16 : null;
        var start = File.Exists(_state) ? TrainingCheckpoint.Load(_state, model, optimizer) : new TrainingCheckpoint(0, 0, 0);
        var books = Books.Read(options.Books);
        var heldOut = TrainingData.Cut(Books.Read(Path.Combine(options.Books, "heldout")), _encoder, options.Context + 1, options.Context + 1);
        Loop(model, optimizer, books, heldOut, start, cancellation);
    }

    private static void Log(string text) => Console.WriteLine($"{DateTime.Now:HH:mm:ss} {text}");

    private void Loop(
        CausalLanguageModel model, AdamW optimizer, IReadOnlyList<Book> books, TrainingData heldOut, TrainingCheckpoint start, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var saved = Stopwatch.StartNew();
        var position = start;
        var (lossSum, lossCount, sinceTokens, since) = (0.0, 0, 0L, Stopwatch.StartNew());
        foreach (var (data, indices) in Batches(books, start.Step))
        {
            if (position.Step >= options.Steps || cancellation.IsCancellationRequested)
            {
                break;
            }

            var rate = options.RateAt(position.Step);
            var (loss, predictions) = Backward(model, data, indices);
            var gradient = optimizer.Step(position.Step, rate);
            lossSum += loss;
            lossCount++;
            sinceTokens += predictions;
            position = new TrainingCheckpoint(position.Step + 1, position.Tokens + predictions, start.Seconds + clock.Elapsed.TotalSeconds);
            if (position.Step % 20 == 0)
            {
                var speed = sinceTokens / since.Elapsed.TotalSeconds;
                var left = (options.Steps - position.Step) * (double)options.Batch * options.Context / speed / 60;
                Log(string.Create(
                    CultureInfo.InvariantCulture,
                    $"step {position.Step} loss {lossSum / lossCount:F4} gradient {gradient:F2} rate {rate:E2} tokens {position.Tokens / 1e6:F2}M {speed:F0} tokens/s, {left:F0} minutes left"));
                (lossSum, lossCount, sinceTokens) = (0, 0, 0);
                since.Restart();
            }

            if (position.Step % options.EvaluationSteps == 0 || position.Step == options.Steps)
            {
                var nll = SequenceLoss.Evaluate(model, heldOut, HeldOutSequences, options.Batch, _encoder.Vocabulary.EndToken);
                Log(string.Create(CultureInfo.InvariantCulture, $"step {position.Step} held-out loss {nll:F4} perplexity {Math.Exp(nll):F3}"));
            }

            if (saved.Elapsed.TotalMinutes > options.CheckpointMinutes)
            {
                TrainingCheckpoint.Save(_state, position, model, optimizer);
                saved.Restart();
            }
        }

        TrainingCheckpoint.Save(_state, position, model, optimizer);
        Log(string.Create(CultureInfo.InvariantCulture, $"stopped at step {position.Step}: {position.Tokens} tokens, {position.Seconds:F0} seconds"));
    }

    private (double Loss, int Predictions) Backward(CausalLanguageModel model, TrainingData data, int[] indices)
    {
        using var scope = NewDisposeScope();
        var (loss, predictions) = SequenceLoss.Compute(model, data, indices, _encoder.Vocabulary.EndToken);
        loss.backward();
        return (loss.item<float>(), predictions);
    }

    /// <summary>Endless batches from the given step on. Each epoch cuts the books elsewhere and shuffles anew.</summary>
    private IEnumerable<(TrainingData Data, int[] Indices)> Batches(IReadOnlyList<Book> books, int firstStep)
    {
        var step = 0;
        for (var epoch = 0; ; epoch++)
        {
            var length = options.Context + 1;
            var data = TrainingData.Cut(books, _encoder, length, length - (epoch * 97 % options.Context));
            Log($"epoch {epoch}: {books.Count} books, {data.Count} sequences, {data.TokenCount} tokens");
            var order = data.Order(options.Seed, epoch);
            var steps = data.Count / options.Batch;
            if (step + steps <= firstStep)
            {
                step += steps;
                continue;
            }

            for (var i = Math.Max(0, firstStep - step); i < steps; i++)
            {
                yield return (data, order[(i * options.Batch)..((i + 1) * options.Batch)]);
            }

            step += steps;
        }
    }
}
