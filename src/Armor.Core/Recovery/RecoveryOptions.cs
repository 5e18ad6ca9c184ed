using System.Globalization;

namespace Armor.Core.Recovery;

/// <summary>How a pruned model is fine-tuned towards its dense one.</summary>
public sealed record RecoveryOptions
{
    /// <summary>
    /// Steps that each decoder layer is trained on its own, its output on the recovered stream against the dense layer's on the dense stream.
    /// </summary>
    /// <value>The default is 100; 0 leaves the phase out.</value>
    public int LayerwiseSteps { get; init; } = 100;

    /// <summary>Steps of the whole model by KL(dense‖pruned).</summary>
    /// <value>The default is 1000; 0 leaves the phase out.</value>
    public int Steps { get; init; } = 1000;

    /// <summary>
    /// The highest rate of the layer-wise phase, as a share of a factor's root mean square that a step may move its values by.
    /// </summary>
    /// <value>The default is 0.01.</value>
    public double LayerwiseLearningRate { get; init; } = 0.01;

    /// <summary>The highest rate of the phase over the whole model, in the same unit.</summary>
    /// <value>The default is 0.01.</value>
    public double LearningRate { get; init; } = 0.01;

    /// <summary>The rate of A and B as a multiple of that of the kept values.</summary>
    /// <value>The default is 1.</value>
    public double WrapperRate { get; init; } = 1;

    /// <summary>Sequences a step.</summary>
    /// <value>The default is 8.</value>
    public int SequencesPerStep { get; init; } = 8;

    /// <summary>The last this many sequences are held out: nothing is trained on them, and they choose the state that is kept.</summary>
    /// <value>The default is 64.</value>
    public int HeldOutSequences { get; init; } = 64;

    /// <summary>Steps between two measurements on the held-out sequences.</summary>
    /// <value>The default is 50.</value>
    public int EvaluationSteps { get; init; } = 50;

    /// <summary>The phase ends after this many measurements in a row without a new best.</summary>
    /// <value>The default is 6.</value>
    public int Patience { get; init; } = 6;

    /// <summary>Steps over which the rate grows to its highest; from there it falls along half a cosine to a hundredth.</summary>
    /// <value>The default is 20.</value>
    public int WarmUpSteps { get; init; } = 20;

    /// <summary>Longer gradients are cut to this length.</summary>
    /// <value>The default is 1.</value>
    public double MaximumGradient { get; init; } = 1;

    /// <summary>How many tokens go through a layer at once, padding included; bounds memory. A step's sequences may take several passes.</summary>
    /// <value>The default is 4096.</value>
    public int TokensPerBatch { get; init; } = 4096;

    /// <summary>The seed of the order of the sequences.</summary>
    public long Seed { get; init; }
}
