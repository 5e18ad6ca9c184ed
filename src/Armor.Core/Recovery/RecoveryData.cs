using Armor.Core.Calibration;
using Armor.Runtime.Models;
using TorchSharp;

namespace Armor.Core.Recovery;

/// <summary>The sequences to train on, and those that are held out.</summary>
internal sealed class RecoveryData : IDisposable
{
    private readonly RecoveryOptions options;
    private readonly TrainingOrder order;

    private RecoveryData(IReadOnlyList<int[]> training, IReadOnlyList<int[]> heldOut, RecoveryOptions options)
    {
        this.options = options;
        Training = training;
        All = [.. training, .. heldOut];
        HeldOut = CalibrationBatch.Create(heldOut, options.TokensPerBatch, torch.CPU);
        HeldOutSequences = heldOut.Count;
        HeldOutTokens = HeldOut.Sum(batch => batch.TokenCount);
        order = new TrainingOrder(training.Count, options.SequencesPerStep, options.Seed);
    }

    /// <summary>The sequences to train on.</summary>
    public IReadOnlyList<int[]> Training { get; }

    /// <summary>All sequences in use.</summary>
    public IReadOnlyList<int[]> All { get; }

    /// <summary>The held-out sequences in batches.</summary>
    public IReadOnlyList<CalibrationBatch> HeldOut { get; }

    /// <summary>How many are held out.</summary>
    public int HeldOutSequences { get; }

    /// <summary>Their tokens.</summary>
    public long HeldOutTokens { get; }

    /// <summary>Cuts sequences to the model's context and holds the last ones out.</summary>
    /// <param name="sequences">Token ids, BOS first.</param>
    /// <param name="options">How many of them.</param>
    /// <param name="configuration">The model they are for.</param>
    /// <exception cref="CalibrationException">Too few sequences, or a token outside the vocabulary.</exception>
    public static RecoveryData Create(IEnumerable<int[]> sequences, RecoveryOptions options, ModelConfiguration configuration)
    {
        IReadOnlyList<int[]> usable = CalibrationSequences.Select(sequences, options.MaxSamples ?? int.MaxValue, configuration);
        if (usable.Count < 2)
        {
            throw new CalibrationException(
                $"Recovery needs at least two sequences, one to train on and one to hold out; found {usable.Count} of at least two tokens.");
        }

        int heldOut = Math.Min(options.HeldOutSequences, Math.Max(1, usable.Count / 4));
        return new RecoveryData([.. usable.SkipLast(heldOut)], [.. usable.TakeLast(heldOut)], options);
    }

    /// <summary>The sequences of a step, in as many batches as the limit of tokens asks for; the caller's.</summary>
    /// <param name="step">From 0.</param>
    public IReadOnlyList<CalibrationBatch> Batches(int step) =>
        CalibrationBatch.Create([.. order.At(step).Select(index => Training[index])], options.TokensPerBatch, torch.CPU);

    /// <summary>Frees the held-out batches.</summary>
    public void Dispose()
    {
        foreach (CalibrationBatch batch in HeldOut)
        {
            batch.Dispose();
        }
    }
}
