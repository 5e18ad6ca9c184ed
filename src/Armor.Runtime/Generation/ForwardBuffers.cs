using Armor.Runtime.Generation.Attention;
using Armor.Runtime.Kernels;
using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>The activations of one forward pass over at most <see cref="MostRows"/> tokens, kept from pass to pass; for one pass at a time.</summary>
internal sealed class ForwardBuffers(ModelConfiguration configuration, IKernelThreads? threads)
{
    /// <summary>A prompt goes through the layers in pieces of so many tokens, so that memory does not grow with it.</summary>
    public const int MostRows = 64;

    private float[] _logits = [];

    /// <summary>Attention with its scratch memory.</summary>
    public CausalAttention Attention { get; } = new(configuration, threads);

    /// <summary>The middle of an MLP.</summary>
    public Gating Gating { get; } = new(threads);

    /// <summary>The sequences of a pass of several.</summary>
    public List<Segment> Segments { get; } = [];

    /// <summary>The residual stream, [rows, hidden].</summary>
    public float[] Residual { get; private set; } = [];

    /// <summary>The residual stream after a norm, [rows, hidden].</summary>
    public float[] Normed { get; private set; } = [];

    /// <summary>What a layer's half adds to the residual stream, [rows, hidden].</summary>
    public float[] Added { get; private set; } = [];

    /// <summary>[rows, heads × head size].</summary>
    public float[] Queries { get; private set; } = [];

    /// <summary>[rows, key/value heads × head size].</summary>
    public float[] Keys { get; private set; } = [];

    /// <summary>[rows, key/value heads × head size].</summary>
    public float[] Values { get; private set; } = [];

    /// <summary>[rows, heads × head size].</summary>
    public float[] Context { get; private set; } = [];

    /// <summary>[rows, intermediate].</summary>
    public float[] Gate { get; private set; } = [];

    /// <summary>[rows, intermediate].</summary>
    public float[] Up { get; private set; } = [];

    /// <summary>The rotations of layers without a window, or of all.</summary>
    public RotationTable Rotations { get; private set; } = new([], []);

    /// <summary>The rotations of layers with a window, where they have their own.</summary>
    public RotationTable LocalRotations { get; private set; } = new([], []);

    /// <summary>Scores, then weights of every expert, [rows, experts].</summary>
    public float[] RouterWeights { get; private set; } = [];

    /// <summary>The rows that go through one expert, [rows, hidden].</summary>
    public float[] ExpertInput { get; private set; } = [];

    /// <summary>What one expert makes of its rows, [rows, hidden].</summary>
    public float[] ExpertOutput { get; private set; } = [];

    /// <summary>Makes room; contents are lost.</summary>
    /// <param name="rows">Tokens of the pass.</param>
    public void Reserve(int rows)
    {
        if (Residual.Length >= rows * configuration.HiddenSize)
        {
            return;
        }

        Residual = new float[rows * configuration.HiddenSize];
        Normed = new float[rows * configuration.HiddenSize];
        Added = new float[rows * configuration.HiddenSize];
        Queries = new float[rows * configuration.QuerySize];
        Keys = new float[rows * configuration.KeyValueSize];
        Values = new float[rows * configuration.KeyValueSize];
        Context = new float[rows * configuration.QuerySize];
        Gate = new float[rows * configuration.IntermediateSize];
        Up = new float[rows * configuration.IntermediateSize];
        Rotations = CreateTable(rows);
        LocalRotations = configuration.LocalRopeTheta is null ? Rotations : CreateTable(rows);
        if (configuration.Experts is { } experts)
        {
            RouterWeights = new float[rows * experts.Count];
            ExpertInput = new float[rows * configuration.HiddenSize];
            ExpertOutput = new float[rows * configuration.HiddenSize];
        }
    }

    /// <summary>Room for logits that the caller does not see, [rows, vocabulary]; contents are lost.</summary>
    public Span<float> ReserveLogits(int rows)
    {
        var count = rows * configuration.VocabularySize;
        _logits = _logits.Length < count ? new float[count] : _logits;
        return _logits.AsSpan(0, count);
    }

    private RotationTable CreateTable(int rows) =>
        new(new float[rows * configuration.RotarySize / 2], new float[rows * configuration.RotarySize / 2]);
}
