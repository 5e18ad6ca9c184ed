using System.Globalization;

namespace Armor.Core.Recovery;

/// <summary>
/// How a pruned model is fine-tuned towards its dense one. Rates are relative: the share of a factor's root mean square that one step may move its
/// values by.
/// </summary>
public sealed record RecoveryOptions
{
    private const int DefaultLayerwiseSteps = 60;
    private const int DefaultSteps = 600;
    private const double DefaultLayerwiseRate = 0.002;
    private const double DefaultRate = 0.003;
    private const int DefaultSequencesPerStep = 4;
    private const int DefaultHeldOutSequences = 64;
    private const int DefaultEvaluationSteps = 50;
    private const int DefaultPatience = 6;
    private const int DefaultWarmUpSteps = 20;
    private const int DefaultTokensPerBatch = 4096;
    private const int DefaultSaveSteps = 50;
    private const long DefaultActivationBytes = 4L << 30;

    /// <summary>
    /// Steps that each decoder layer is trained on its own: its output on the recovered model's activations against the dense layer's on the dense
    /// model's. Only one layer of each model is in memory.
    /// </summary>
    /// <value>The default is 60; 0 leaves the phase out.</value>
    public int LayerwiseSteps { get; init; } = DefaultLayerwiseSteps;

    /// <summary>The highest rate of the layer-wise phase.</summary>
    /// <value>The default is 0.002.</value>
    public double LayerwiseLearningRate { get; init; } = DefaultLayerwiseRate;

    /// <summary>Steps of the whole model by KL(dense‖pruned). Both models are in memory.</summary>
    /// <value>The default is 600; 0 leaves the phase out.</value>
    public int Steps { get; init; } = DefaultSteps;

    /// <summary>The highest rate of the phase over the whole model.</summary>
    /// <value>The default is 0.003.</value>
    public double LearningRate { get; init; } = DefaultRate;

    /// <summary>The rate of A and B, as a multiple of that of the kept values.</summary>
    /// <value>The default is 1.</value>
    public double WrapperRate { get; init; } = 1;

    /// <summary>Steps over which a rate grows to its highest; from there it falls along half a cosine to a hundredth.</summary>
    /// <value>The default is 20.</value>
    public int WarmUpSteps { get; init; } = DefaultWarmUpSteps;

    /// <summary>Gradients longer than this are cut to it.</summary>
    /// <value>The default is 1.</value>
    public double MaximumGradient { get; init; } = 1;

    /// <summary>Sequences a step.</summary>
    /// <value>The default is 4.</value>
    public int SequencesPerStep { get; init; } = DefaultSequencesPerStep;

    /// <summary>How many sequences are used at most, those held out included; the first ones.</summary>
    /// <value>The default is null: all.</value>
    public int? MaxSamples { get; init; }

    /// <summary>
    /// How many sequences, the last ones, are held out: nothing is trained on them, and they decide which state is kept. At most a quarter of all is.
    /// </summary>
    /// <value>The default is 64.</value>
    public int HeldOutSequences { get; init; } = DefaultHeldOutSequences;

    /// <summary>Steps between two measurements on the held-out sequences.</summary>
    /// <value>The default is 50.</value>
    public int EvaluationSteps { get; init; } = DefaultEvaluationSteps;

    /// <summary>Training stops after this many measurements in a row without a new lowest one; the start does not count as one.</summary>
    /// <value>The default is 6.</value>
    public int Patience { get; init; } = DefaultPatience;

    /// <summary>How many tokens go through a layer at once, padding included. A step's sequences take as many passes as they need.</summary>
    /// <value>The default is 4096.</value>
    public int TokensPerBatch { get; init; } = DefaultTokensPerBatch;

    /// <summary>
    /// What activations may take in memory. Residual streams beyond it go to files beside the output, and where the graph of a pass through the
    /// whole model would take more, only the layers' inputs are kept and each layer is computed a second time for its gradients.
    /// </summary>
    /// <value>The default is 4 GiB.</value>
    public long ActivationBytes { get; init; } = DefaultActivationBytes;

    /// <summary>Steps of the whole model between two states on disk, from which an interrupted run can go on.</summary>
    /// <value>The default is 50.</value>
    public int SaveSteps { get; init; } = DefaultSaveSteps;

    /// <summary>The seed of the order of the sequences.</summary>
    /// <value>The default is 0.</value>
    public long Seed { get; init; }

    /// <summary>
    /// Whether to go on where an interrupted run to the same output folder stopped; its output is that of a run without interruption. Where there is
    /// no such run, a new one begins.
    /// </summary>
    /// <value>The default is false: an interrupted run in the way is an error.</value>
    public bool Resume { get; init; }

    /// <summary>Checks every option.</summary>
    /// <exception cref="ArgumentException">Lists every violation.</exception>
    public void Validate()
    {
        var violations = new List<string>();
        AtLeast(nameof(LayerwiseSteps), LayerwiseSteps, 0);
        AtLeast(nameof(Steps), Steps, 0);
        AtLeast(nameof(WarmUpSteps), WarmUpSteps, 0);
        AtLeast(nameof(SequencesPerStep), SequencesPerStep, 1);
        AtLeast(nameof(MaxSamples), MaxSamples ?? 2, 2);
        AtLeast(nameof(HeldOutSequences), HeldOutSequences, 1);
        AtLeast(nameof(EvaluationSteps), EvaluationSteps, 1);
        AtLeast(nameof(Patience), Patience, 1);
        AtLeast(nameof(TokensPerBatch), TokensPerBatch, 1);
        AtLeast(nameof(ActivationBytes), ActivationBytes, 0);
        AtLeast(nameof(SaveSteps), SaveSteps, 1);
        Rate(nameof(LayerwiseLearningRate), LayerwiseLearningRate);
        Rate(nameof(LearningRate), LearningRate);
        Rate(nameof(WrapperRate), WrapperRate);
        Rate(nameof(MaximumGradient), MaximumGradient);
        if (LayerwiseSteps == 0 && Steps == 0)
        {
            violations.Add($"{nameof(LayerwiseSteps)} and {nameof(Steps)} are both 0: there is nothing to do.");
        }

        if (violations.Count > 0)
        {
            throw new ArgumentException(string.Join(Environment.NewLine, violations));
        }

        void AtLeast(string name, long value, long least)
        {
            if (value < least)
            {
                violations.Add(string.Create(CultureInfo.InvariantCulture, $"{name} must be at least {least}; found {value}."));
            }
        }

        void Rate(string name, double value)
        {
            if (!(value > 0) || !double.IsFinite(value))
            {
                violations.Add(string.Create(CultureInfo.InvariantCulture, $"{name} must be a positive number; found {value}."));
            }
        }
    }

    /// <summary>All that the output depends on.</summary>
    internal IReadOnlyDictionary<string, string> Fingerprint => new SortedDictionary<string, string>(StringComparer.Ordinal)
    {
        [nameof(LayerwiseSteps)] = Text(LayerwiseSteps),
        [nameof(LayerwiseLearningRate)] = Text(LayerwiseLearningRate),
        [nameof(Steps)] = Text(Steps),
        [nameof(LearningRate)] = Text(LearningRate),
        [nameof(WrapperRate)] = Text(WrapperRate),
        [nameof(WarmUpSteps)] = Text(WarmUpSteps),
        [nameof(MaximumGradient)] = Text(MaximumGradient),
        [nameof(SequencesPerStep)] = Text(SequencesPerStep),
        [nameof(HeldOutSequences)] = Text(HeldOutSequences),
        [nameof(EvaluationSteps)] = Text(EvaluationSteps),
        [nameof(Patience)] = Text(Patience),
        [nameof(TokensPerBatch)] = Text(TokensPerBatch),
        [nameof(Seed)] = Text(Seed),
    };

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
