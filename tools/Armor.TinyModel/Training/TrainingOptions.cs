using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.TinyModel.Training;

/// <summary>Everything that decides a training run.</summary>
internal sealed record TrainingOptions
{
    public required string Books { get; init; }

    /// <summary>The working folder: tokenizer, checkpoint.</summary>
    public required string Work { get; init; }

    public int Hidden { get; init; } = 256;

    public int Intermediate { get; init; } = 512;

    public int Layers { get; init; } = 5;

    public int Heads { get; init; } = 8;

    public int KeyValueHeads { get; init; } = 4;

    public int Context { get; init; } = 256;

    public int Batch { get; init; } = 16;

    public int Steps { get; init; } = 4000;

    public int WarmUpSteps { get; init; } = 200;

    /// <summary>The part of the run, at its end, over which the learning rate falls along a cosine; before it stays at its peak.</summary>
    public double DecayFraction { get; init; } = 0.5;

    public double LearningRate { get; init; } = 2e-3;

    /// <summary>The learning rate of the last step over the peak.</summary>
    public double FinalFraction { get; init; } = 0.02;

    public double Beta1 { get; init; } = 0.9;

    public double Beta2 { get; init; } = 0.95;

    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Gradients longer than this are shortened to it.</summary>
    public double MaximumGradient { get; init; } = 1;

    public int Seed { get; init; } = 1;

    public int Threads { get; init; } = 2;

    public double CheckpointMinutes { get; init; } = 4;

    public int EvaluationSteps { get; init; } = 500;

    /// <summary>Compute in bfloat16 over single-precision weights.</summary>
    public bool HalfPrecision { get; init; } = true;

    public double RateAt(int step)
    {
        if (step < WarmUpSteps)
        {
            return LearningRate * (step + 1) / WarmUpSteps;
        }

        var decaySteps = Math.Max(1, DecayFraction * Steps);
        var progress = Math.Clamp((step - (Steps - decaySteps)) / decaySteps, 0, 1);
        return LearningRate * (FinalFraction + ((1 - FinalFraction) * 0.5 * (1 + Math.Cos(Math.PI * progress))));
    }

    public ModelConfiguration Model(int vocabulary, int begin, int end) => new()
    {
        Family = ModelFamily.Llama,
        HiddenSize = Hidden,
        IntermediateSize = Intermediate,
        LayerCount = Layers,
        AttentionHeadCount = Heads,
        KeyValueHeadCount = KeyValueHeads,
        HeadSize = Hidden / Heads,
        VocabularySize = vocabulary,
        ContextLength = Context,
        NormEpsilon = 1e-5f,
        RopeTheta = 10000,
        TieWordEmbeddings = true,
        BeginOfSequence = begin,
        EndOfSequence = [end],
        StoredType = TensorElementType.BFloat16,
    };
}
