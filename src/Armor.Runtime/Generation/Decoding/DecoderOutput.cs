namespace Armor.Runtime.Generation.Decoding;

/// <summary>What is wanted of the last rows of a pass: logits, or the likeliest tokens, or nothing but that the sequences hold them.</summary>
public readonly ref struct DecoderOutput
{
    private DecoderOutput(Span<float> logits, Span<int> likeliest)
    {
        Logits = logits;
        Likeliest = likeliest;
    }

    /// <summary>[rows wanted, vocabulary]; empty where no logits are wanted.</summary>
    public Span<float> Logits { get; }

    /// <summary>[rows wanted], the token of each row's highest logit, of equals the first; empty where no tokens are wanted.</summary>
    public Span<int> Likeliest { get; }

    /// <summary>Logits.</summary>
    /// <param name="logits">[rows wanted, vocabulary].</param>
    public static DecoderOutput OfLogits(Span<float> logits) => new(logits, []);

    /// <summary>Tokens.</summary>
    /// <param name="tokens">[rows wanted].</param>
    public static DecoderOutput OfLikeliest(Span<int> tokens) => new([], tokens);

    /// <summary>Of how many rows something is wanted.</summary>
    /// <param name="vocabularySize">Number of tokens.</param>
    public int RowCount(int vocabularySize) => Likeliest.Length > 0 ? Likeliest.Length : Logits.Length / vocabularySize;

    /// <summary>A part of the wanted rows.</summary>
    internal DecoderOutput Slice(int first, int rows, int vocabularySize) => Likeliest.Length > 0
        ? new([], Likeliest.Slice(first, rows))
        : new(Logits.Slice(first * vocabularySize, rows * vocabularySize), []);
}
