namespace Armor.Runtime.Models;

/// <summary>What a family's <c>config.json</c> may say, and what it means where it says nothing: the defaults of the family's own class.</summary>
internal sealed record FamilyRules
{
    private static readonly FamilyRules[] s_all =
    [
        new() { Type = "llama", Family = ModelFamily.Llama, KeyValueHeadsMayBeAbsent = true, HasAttentionBias = true },
        new() { Type = "mistral", Family = ModelFamily.Mistral },
        new() { Type = "qwen2", Family = ModelFamily.Qwen2 },
        new() { Type = "qwen3", Family = ModelFamily.Qwen3, HeadSize = 128, HasAttentionBias = true },
        Gemma("gemma2", ModelFamily.Gemma2, 10000),
        Gemma("gemma3_text", ModelFamily.Gemma3, 1e6),
        new()
        {
            Type = "phi3",
            Family = ModelFamily.Phi3,
            KeyValueHeadsMayBeAbsent = true,
            Epsilon = 1e-5,
            HasPartialRotation = true,
            MustBeFalse = ["attention_bias", "mlp_bias", "lm_head_bias"],
        },
        new() { Type = "mixtral", Family = ModelFamily.Mixtral, Epsilon = 1e-5, Theta = 1e6 },
        new() { Type = "qwen3_moe", Family = ModelFamily.Qwen3Moe, HasAttentionBias = true },
    ];

    /// <summary>The <c>model_type</c>.</summary>
    public required string Type { get; init; }

    public required ModelFamily Family { get; init; }

    /// <summary>False where the class's default is one published model's: a file without the key is not to be guessed at.</summary>
    public bool KeyValueHeadsMayBeAbsent { get; init; }

    /// <summary>Where <c>head_dim</c> is absent; null: hidden size over heads.</summary>
    public int? HeadSize { get; init; }

    public double Epsilon { get; init; } = 1e-6;

    public double Theta { get; init; } = 10000;

    public bool TiesEmbeddings { get; init; }

    /// <summary>Whether <c>attention_bias</c> means something.</summary>
    public bool HasAttentionBias { get; init; }

    /// <summary>Whether <c>partial_rotary_factor</c> may be other than 1.</summary>
    public bool HasPartialRotation { get; init; }

    /// <summary>The key of the MLP's activation, and its only value that we compute under its names.</summary>
    public (string Key, string[] Names) Activation { get; init; } = ("hidden_act", ["silu", "swish"]);

    /// <summary>Keys that would change the mathematics.</summary>
    public string[] MustBeFalse { get; init; } = [];

    public static IEnumerable<string> Types => s_all.Select(rules => rules.Type);

    public static FamilyRules Of(ModelFamily family) => s_all.First(rules => rules.Family == family);

    public static FamilyRules? Find(string type) => s_all.FirstOrDefault(rules => rules.Type == type);

    private static FamilyRules Gemma(string type, ModelFamily family, double theta) => new()
    {
        Type = type,
        Family = family,
        HeadSize = 256,
        Theta = theta,
        TiesEmbeddings = true,
        HasAttentionBias = true,
        Activation = ("hidden_activation", ["gelu_pytorch_tanh"]),
        MustBeFalse = ["use_bidirectional_attention"],
    };
}
