using Armor.Core.Calibration;
using Armor.Core.Calibration.Streams;
using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>
/// Trains one decoder layer after the other: its output on the recovered model's residual stream towards the dense layer's on the dense model's. The
/// error of a token counts by its share of the token's own length, since every reader of the residual stream norms it first. One layer of each model is in
/// memory, and the streams as far as the options let them.
/// </summary>
internal sealed class LayerwiseRecovery(
    ArmorCheckpoint pruned,
    CheckpointFolder denseCheckpoint,
    RecoveryData data,
    RecoveryOptions options,
    LayerwiseFiles files,
    CancellationToken cancellationToken)
{
    private readonly List<string> notes = [];
    private int made;

    /// <summary>Told after every step: the layer, steps made in all layers together, and the layer's latest error.</summary>
    public Action<int, int, double>? Progress { get; init; }

    /// <summary>What the phase came to.</summary>
    /// <param name="KlBefore">The held-out KL of the pruned model.</param>
    /// <param name="KlAfter">The held-out KL of the trained layers.</param>
    /// <param name="Steps">Steps of all layers.</param>
    /// <param name="Layers">The trained linears by name.</param>
    /// <param name="Notes">For the report.</param>
    public sealed record Outcome(
        double KlBefore, double KlAfter, int Steps, IReadOnlyList<KeyValuePair<string, ArmorLayer>> Layers, IReadOnlyList<string> Notes);

    /// <summary>Walks through the model.</summary>
    public Outcome Run()
    {
        // No batch that no step will see.
        int[][] sequences = [.. data.Training.Take((int)Math.Min(int.MaxValue, (long)options.LayerwiseSteps * options.SequencesPerStep))];
        int tokensPerStep = Math.Min(options.TokensPerBatch, options.SequencesPerStep * sequences.Max(sequence => sequence.Length));
        IReadOnlyList<CalibrationBatch> training = CalibrationBatch.Create(sequences, tokensPerStep, CPU);
        using CausalLanguageModel denseEnds = LoadEnds(denseCheckpoint);
        using CausalLanguageModel prunedEnds = LoadEnds(pruned.Base);
        using var denseLayers = new LayerwiseModel(denseCheckpoint, denseEnds.Configuration);
        using var prunedLayers = new LayerwiseModel(pruned.Base, prunedEnds.Configuration, pruned.PrunedLinears.Select(name => name + ".weight").ToHashSet());
        CalibrationBatch[] all = [.. training, .. data.HeldOut];
        using ResidualStream dense = Stream("dense", all, denseEnds);
        using ResidualStream recovered = Stream("recovered", all, prunedEnds);
        using ResidualStream untouched = Stream("pruned", data.HeldOut, prunedEnds);
        try
        {
            var layers = new List<KeyValuePair<string, ArmorLayer>>();
            for (int index = 0; index < denseLayers.Configuration.LayerCount; index++)
            {
                using (LoadedLayer target = denseLayers.LoadLayer(index))
                {
                    Advance(dense, all.Length, target.Layer);
                }

                using LoadedLayer loaded = prunedLayers.LoadLayer(index);
                using var factors = new TrainableFactors(Linears(index));
                TrainableLayer.Install(loaded.Layer, factors);
                Advance(untouched, data.HeldOut.Count, loaded.Layer);
                Train(loaded.Layer, factors, training, dense, recovered);
                factors.AsStored(pruned.ElementType, pruned.CoreType, () => Advance(recovered, all.Length, loaded.Layer));
                dense.Pass(index + 1);
                recovered.Pass(index + 1);
                untouched.Pass(index + 1);
                layers.AddRange(factors.ToLayers());
            }

            var loss = new DistillationLoss(denseEnds, prunedEnds);
            return new Outcome(Kl(loss, untouched, 0), Kl(loss, recovered, training.Count), made, layers, notes);

            double Kl(DistillationLoss kl, ResidualStream stream, int first)
            {
                double sum = 0;
                for (int batch = 0; batch < data.HeldOut.Count; batch++)
                {
                    using var scope = NewDisposeScope();
                    sum += kl.Sum(dense.Load(training.Count + batch), stream.Load(first + batch), data.HeldOut[batch]);
                }

                return sum / data.HeldOutTokens;
            }
        }
        finally
        {
            foreach (CalibrationBatch batch in training)
            {
                batch.Dispose();
            }
        }
    }

    // The embedding, the final norm and the head.
    private static CausalLanguageModel LoadEnds(CheckpointFolder checkpoint) =>
        CausalLanguageModel.LoadPart(checkpoint, name => name.StartsWith("model.layers.", StringComparison.Ordinal));

    private void Train(
        DecoderLayer layer, TrainableFactors factors, IReadOnlyList<CalibrationBatch> training, ResidualStream dense, ResidualStream recovered)
    {
        if (factors.Count == 0)
        {
            return;
        }

        string path = files.PathOf(layer.Index);
        if (File.Exists(path))
        {
            made += TrainingFile.Read(path, ("values", factors.Values)).Step;
            return;
        }

        var order = new TrainingOrder(training.Count, 1, options.Seed);
        var plan = new TrainingPlan(options.LayerwiseSteps, options.LayerwiseLearningRate, options);
        using var trainer = new FactorTrainer(factors, (pruned.ElementType, pruned.CoreType), plan, Accumulate, Measure, cancellationToken)
        {
            Progress = (step, latest) => Progress?.Invoke(layer.Index, made + step, latest),
        };
        TrainingOutcome outcome = trainer.Run();
        made += outcome.Steps;
        notes.AddRange(outcome.Notes.Select(note => $"{ModelShapes.LayerPrefix(layer.Index).TrimEnd('.')}: {note}"));
        TrainingFile.Write(path, new TrainingPosition { Step = outcome.Steps }, ("values", factors.Values));

        double Accumulate(int step)
        {
            using var scope = NewDisposeScope();
            int batch = order.At(step)[0];
            Tensor error = Error(training[batch], dense.Load(batch), layer.Forward(recovered.Load(batch))).mean();
            error.backward();
            return error.item<float>();
        }

        double Measure()
        {
            double sum = 0;
            for (int i = 0; i < data.HeldOut.Count; i++)
            {
                using var scope = NewDisposeScope();
                int batch = training.Count + i;
                sum += Error(data.HeldOut[i], dense.Load(batch), layer.Forward(recovered.Load(batch))).sum(ScalarType.Float64).item<double>();
            }

            return sum / data.HeldOutTokens;
        }
    }

    /// <summary>‖y − ŷ‖² / ‖y‖² of each real token.</summary>
    private static Tensor Error(CalibrationBatch batch, Tensor target, Tensor output)
    {
        using var scope = NewDisposeScope();
        Tensor wanted = batch.SelectTokens(target);
        return ((batch.SelectTokens(output) - wanted).Squared().sum(-1) / wanted.Squared().sum(-1).AtLeast(float.Epsilon)).MoveToOuterDisposeScope();
    }

    private bool Advance(ResidualStream stream, int count, DecoderLayer layer)
    {
        using var withoutGradients = no_grad();
        for (int batch = 0; batch < count; batch++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            stream.Store(batch, layer.Forward(stream.Load(batch)));
        }

        return true;
    }

    private KeyValuePair<string, ArmorLayer>[] Linears(int layer)
    {
        string prefix = ModelShapes.LayerPrefix(layer);
        return [.. pruned.PrunedLinears.Where(name => name.StartsWith(prefix, StringComparison.Ordinal)).Select(name => KeyValuePair.Create(name, pruned.ReadLayer(name)))];
    }

    private ResidualStream Stream(string name, IReadOnlyList<CalibrationBatch> batches, CausalLanguageModel ends)
    {
        long[][] shapes = [.. batches.Select(batch => (long[])[.. batch.Tokens.shape, ends.Configuration.HiddenSize])];
        return new ResidualStream(shapes, options.ActivationBytes / 3, layer => files.StreamOf(name, layer), batch => Embed(ends, batches[batch].Tokens));

        static Tensor Embed(CausalLanguageModel model, Tensor tokens)
        {
            using var withoutGradients = no_grad();
            return model.Embed(tokens);
        }
    }
}

/// <summary>Where the layer-wise phase keeps what is finished, and what does not fit in memory.</summary>
/// <param name="PathOf">The file of a finished layer.</param>
/// <param name="StreamOf">The file of a residual stream at a layer.</param>
internal sealed record LayerwiseFiles(Func<int, string> PathOf, Func<string, int, string> StreamOf);
