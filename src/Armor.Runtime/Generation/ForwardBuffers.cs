using Armor.Runtime.Models;

namespace Armor.Runtime.Generation;

/// <summary>The activations of one forward pass over at most <see cref="MostRows"/> tokens, kept from pass to pass.</summary>
internal sealed class ForwardBuffers(ModelConfiguration configuration)
{
    /// <summary>A prompt goes through the layers in pieces of so many tokens, so that memory does not grow with it.</summary>
    public const int MostRows = 64;

    /// <summary>The residual stream, [rows, hidden].</summary>
    public float[] Residual { get; private set; } = [];

    /// <summary>The residual stream after a norm, [rows, hidden].</summary>
    public float[] Normed { get; private set; } = [];

    /// <summary>What a layer's half adds to the residual stream, [rows, hidden].</summary>
    public float[] Added { get; private set; } = [];

    /// <summary>[rows, heads × head size].</summary>
    public float[] Queries { get; private set; } = [];

    /// <summary>[rows, heads × head size].</summary>
    public float[] Context { get; private set; } = [];

    /// <summary>[rows, intermediate].</summary>
    public float[] Gate { get; private set; } = [];

    /// <summary>[rows, intermediate].</summary>
    public float[] Up { get; private set; } = [];

    /// <summary>Cosines of the rotations, [rows, head size / 2].</summary>
    public float[] Cosines { get; private set; } = [];

    /// <summary>Sines of the rotations, [rows, head size / 2].</summary>
    public float[] Sines { get; private set; } = [];

    /// <summary>Attention of one query to every position, [positions].</summary>
    public float[] Scores { get; private set; } = [];

    /// <summary>Makes room; contents are lost.</summary>
    /// <param name="rows">Tokens of the pass.</param>
    /// <param name="positions">Tokens of the sequence, those of the pass included.</param>
    public void Reserve(int rows, int positions)
    {
        if (Residual.Length < rows * configuration.HiddenSize)
        {
            Residual = new float[rows * configuration.HiddenSize];
            Normed = new float[rows * configuration.HiddenSize];
            Added = new float[rows * configuration.HiddenSize];
            Queries = new float[rows * configuration.QuerySize];
            Context = new float[rows * configuration.QuerySize];
            Gate = new float[rows * configuration.IntermediateSize];
            Up = new float[rows * configuration.IntermediateSize];
            Cosines = new float[rows * configuration.HeadSize / 2];
            Sines = new float[rows * configuration.HeadSize / 2];
        }

        if (Scores.Length < positions)
        {
            Scores = new float[Math.Max(positions, (int)Math.Min(configuration.ContextLength, 2L * Scores.Length))];
        }
    }
}
