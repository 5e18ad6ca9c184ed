using System.Text.Json.Nodes;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Runtime.Tests.Models;

/// <summary>What the configurations of Gemma, Phi-3, Mixtral and Qwen3-MoE say, and what is refused.</summary>
public sealed class FamilyConfigurationTests
{
    [Test]
    public void Gemma2_defaults_are_those_of_its_class()
    {
        var configuration = Parse("gemma2");
        Assert.Multiple(() =>
        {
            Assert.That((configuration.AttentionSoftCap, configuration.LogitSoftCap), Is.EqualTo((50f, 30f)));
            Assert.That(configuration.HeadSize, Is.EqualTo(256));
            Assert.That(configuration.AttentionScale, Is.EqualTo(1.0 / 16));
            Assert.That(configuration.TieWordEmbeddings, Is.True);
            Assert.That(configuration.Activation, Is.EqualTo(ActivationFunction.GeluTanh));
            Assert.That(Windows(configuration), Is.EqualTo(new int?[] { 4096, null, 4096, null, 4096, null, 4096 }));
            Assert.That(configuration.HasLocalRotation(0), Is.False);
        });
    }

    [Test]
    public void A_soft_cap_that_is_null_is_none() =>
        Assert.That(Parse("gemma2", ("attn_logit_softcapping", null), ("final_logit_softcapping", 5)) is { AttentionSoftCap: null, LogitSoftCap: 5 });

    [Test]
    public void Gemma3_has_a_window_and_its_own_base_in_five_layers_of_six()
    {
        var configuration = Parse("gemma3_text", ("sliding_window", 16));
        Assert.Multiple(() =>
        {
            Assert.That(Windows(configuration), Is.EqualTo(new int?[] { 16, 16, 16, 16, 16, null, 16 }));
            Assert.That((configuration.RopeTheta, configuration.LocalRopeTheta), Is.EqualTo((1e6, 10000.0)));
            Assert.That(Enumerable.Range(0, 7).Select(configuration.HasLocalRotation), Is.EqualTo(new[] { true, true, true, true, true, false, true }));
            Assert.That((configuration.AttentionSoftCap, configuration.LogitSoftCap), Is.EqualTo(((float?)null, (float?)null)));
            Assert.That(configuration.QueryKeyNorm, Is.True);
        });
    }

    [Test]
    public void Scaling_stretches_the_global_base_alone()
    {
        var configuration = Parse("gemma3_text", ("rope_scaling", new JsonObject { ["rope_type"] = "linear", ["factor"] = 8.0 }));
        Assert.That(configuration.GetRotation(isLocal: false, isLong: false).Frequencies[0], Is.EqualTo(1.0 / 8));
        Assert.That(configuration.GetRotation(isLocal: true, isLong: false).Frequencies[0], Is.EqualTo(1));
    }

    [Test]
    public void Newer_files_give_the_bases_by_kind_of_layer()
    {
        var rope = new JsonObject
        {
            ["full_attention"] = new JsonObject { ["rope_type"] = "linear", ["factor"] = 4.0, ["rope_theta"] = 500000.0 },
            ["sliding_attention"] = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 20000.0 },
        };
        var configuration = Parse("gemma3_text", ("rope_parameters", rope));
        Assert.That(configuration is { RopeTheta: 500000, LocalRopeTheta: 20000, RopeScaling: { Kind: RopeScalingKind.Linear, Factor: 4 } });

        rope["sliding_attention"]!["rope_type"] = "linear";
        AssertRefused("gemma3_text", "rope_parameters.sliding_attention.rope_type: expected \"default\", found \"linear\"", ("rope_parameters", rope));
    }

    [Test]
    public void Layer_types_decide_the_period()
    {
        var configuration = Parse("gemma3_text", ("sliding_window", 8), ("layer_types", Layers("ssfssfs")));
        Assert.That(Windows(configuration), Is.EqualTo(new int?[] { 8, 8, null, 8, 8, null, 8 }));
        Assert.That(Windows(Parse("gemma2", ("layer_types", Layers("sssssss")))), Has.All.EqualTo(4096));
        Assert.That(Windows(Parse("gemma2", ("sliding_window", null))), Has.All.Null);
        AssertRefused("gemma3_text", "layer_types[4]: expected \"sliding_attention\", as the other keys and layers say", ("layer_types", Layers("ssfsffs")));
    }

    [TestCase(TensorElementType.BFloat16, 59.75f)]
    [TestCase(TensorElementType.Float16, 59.875f)]
    [TestCase(TensorElementType.Float32, 59.8665199f)]
    public void Embeddings_are_scaled_by_the_root_of_hidden_as_stored(TensorElementType type, float expected)
    {
        var configuration = Parse("gemma2", ("hidden_size", 3584)) with { StoredType = type };
        Assert.That(configuration.EmbeddingScale, Is.EqualTo(expected));
        Assert.That((configuration with { Family = ModelFamily.Llama }).EmbeddingScale, Is.EqualTo(1));
    }

    [Test]
    public void Gemma3_with_images_is_refused_by_name() =>
        AssertRefused("gemma3", "\"gemma3\", which reads images besides; only its text models are computed");

    [Test]
    public void Phi3_reads_LongRoPE()
    {
        var configuration = Parse("phi3", Phi3LongRope("longrope"));
        var scaling = configuration.RopeScaling!;
        Assert.Multiple(() =>
        {
            Assert.That(scaling, Is.EqualTo(Parse("phi3", Phi3LongRope("su")).RopeScaling));
            Assert.That((scaling.Kind, scaling.Factor, scaling.OriginalContextLength), Is.EqualTo((RopeScalingKind.LongRope, 4.0, 16)));
            Assert.That(scaling.Magnitude, Is.EqualTo(Math.Sqrt(1.5)).Within(1e-15), "√(1 + ln 4 / ln 16)");
            Assert.That(configuration.GetRotation(false, isLong: false).Frequencies, Is.EqualTo(new[] { 1, 0.01 / 2 }).Within(1e-15));
            Assert.That(configuration.GetRotation(false, isLong: true).Frequencies, Is.EqualTo(new[] { 1 / 3.0, 0.01 / 4 }).Within(1e-15));
            Assert.That((configuration.HasLongRotation(16), configuration.HasLongRotation(17)), Is.EqualTo((false, true)));
            Assert.That(scaling, Is.Not.EqualTo(scaling with { LongFactors = [3, 5] }));
        });
    }

    [TestCase("type", "yarn", "rope_scaling.type: expected \"default\" or \"longrope\", found \"yarn\"")]
    [TestCase("type", "linear", "rope_scaling.type: expected \"default\" or \"longrope\", found \"linear\"")]
    [TestCase("short_factor", "[1]", "rope_scaling.short_factor: expected an array of 2 numbers above 0")]
    [TestCase("long_factor", "[1, -2]", "rope_scaling.long_factor: expected an array of 2 numbers above 0")]
    [TestCase("factor", "3", "rope_scaling.factor: expected max_position_embeddings over original_max_position_embeddings, 4, found 3")]
    public void LongRoPE_that_is_not_computed_is_refused(string key, string value, string message)
    {
        var keys = Phi3LongRope("longrope");
        keys[1].Value![key] = value[0] is '[' or '3' ? JsonNode.Parse(value) : value;
        AssertRefused("phi3", message, keys);
    }

    [Test]
    public void Phi3_may_rotate_part_of_a_head()
    {
        Assert.That(Parse("phi3", ("head_dim", 8), ("partial_rotary_factor", 0.75)).RotarySize, Is.EqualTo(6));
        Assert.That(Parse("phi3", ("head_dim", 8), ("rope_parameters", new JsonObject { ["rope_type"] = "default", ["partial_rotary_factor"] = 0.5 })).RotarySize, Is.EqualTo(4));
        AssertRefused("phi3", "partial_rotary_factor: expected a number up to 1 that rotates an even number of the head's 8 elements, found 0.4", ("head_dim", 8), ("partial_rotary_factor", 0.4));
        AssertRefused("mixtral", "partial_rotary_factor: expected 1, found 0.5", ("partial_rotary_factor", 0.5));
    }

    [TestCase("phi3", "attention_bias")]
    [TestCase("phi3", "mlp_bias")]
    [TestCase("phi3", "lm_head_bias")]
    [TestCase("gemma2", "use_bidirectional_attention")]
    [TestCase("gemma3_text", "use_bidirectional_attention")]
    public void Flags_that_change_the_function_are_refused(string family, string key)
    {
        AssertRefused(family, $"{key}: expected false, found true", (key, true));
        Assert.That(() => Parse(family, (key, false)), Throws.Nothing);
    }

    [TestCase("gemma2", "hidden_activation", "gelu")]
    [TestCase("gemma3_text", "hidden_activation", "silu")]
    [TestCase("phi3", "hidden_act", "gelu_pytorch_tanh")]
    public void Another_activation_is_refused(string family, string key, string value) => AssertRefused(family, $"{key}: expected", (key, value));

    [Test]
    public void Experts_are_read()
    {
        var mixtral = Parse("mixtral");
        Assert.That(mixtral.Experts, Is.EqualTo(new ExpertConfiguration(4, 2, NormalizesWeights: true)));
        Assert.That((mixtral.IntermediateSize, mixtral.RopeTheta, mixtral.SlidingWindow), Is.EqualTo((96, 1e6, (int?)null)));

        var qwen = Parse("qwen3_moe", ("norm_topk_prob", true), ("decoder_sparse_step", 1), ("mlp_only_layers", new JsonArray()));
        Assert.That(qwen.Experts, Is.EqualTo(new ExpertConfiguration(4, 2, NormalizesWeights: true)));
        Assert.That(qwen.IntermediateSize, Is.EqualTo(40));
        Assert.That(Parse("qwen3_moe").Experts!.NormalizesWeights, Is.False);
    }

    [TestCase("num_experts_per_tok", "5", "num_experts_per_tok: expected a whole number from 1 to 4, found 5")]
    [TestCase("decoder_sparse_step", "2", "decoder_sparse_step: expected 1 (experts in every layer), found 2")]
    [TestCase("mlp_only_layers", "[0]", "mlp_only_layers: expected an empty array (experts in every layer), found [0]")]
    [TestCase("num_experts", "0", "num_experts: expected a whole number from 1 to 4096, found 0")]
    [TestCase("moe_intermediate_size", "null", "moe_intermediate_size: expected a whole number from 1 to 1048576, found nothing")]
    public void Experts_that_are_not_computed_are_refused(string key, string value, string message) =>
        AssertRefused("qwen3_moe", message, (key, JsonNode.Parse(value)));

    [Test]
    public void More_experts_than_any_machine_holds_are_refused() =>
        AssertRefused("mixtral", "num_local_experts: expected experts x num_hidden_layers of at most 65536, found 81920", ("num_local_experts", 4096), ("num_hidden_layers", 20));

    [Test]
    public void Linears_of_experts_come_expert_by_expert()
    {
        var names = ModelShapes.Linears(Parse("mixtral")).Where(linear => linear.Expert is not null).Select(linear => (linear.Name, linear.Group, linear.Expert));
        Assert.That(names.Take(4), Is.EqualTo(new (string, LinearGroup, int?)[]
        {
            ("block_sparse_moe.experts.0.w1", LinearGroup.MlpInput, 0),
            ("block_sparse_moe.experts.0.w3", LinearGroup.MlpInput, 0),
            ("block_sparse_moe.experts.0.w2", LinearGroup.MlpOutput, 0),
            ("block_sparse_moe.experts.1.w1", LinearGroup.MlpInput, 1),
        }));
    }

    private static IEnumerable<ModelConfiguration> Writable()
    {
        yield return Parse("gemma2", ("attn_logit_softcapping", null));
        yield return Parse("gemma3_text", ("sliding_window_pattern", 3), ("final_logit_softcapping", 7.5), ("attention_bias", true));
        yield return Parse("gemma3_text", ("sliding_window", null));
        yield return Parse("phi3", Phi3LongRope("longrope"));
        yield return Parse("phi3", [.. Phi3LongRope("longrope"), ("head_dim", 8), ("partial_rotary_factor", 0.5), ("sliding_window", 12)]);
        yield return Parse("mixtral", ("sliding_window", 9));
        yield return Parse("qwen3_moe", ("norm_topk_prob", true), ("use_sliding_window", true), ("sliding_window", 9));
    }

    [TestCaseSource(nameof(Writable))]
    public void What_is_written_reads_as_the_same(ModelConfiguration configuration) =>
        Assert.That(
            ModelConfiguration.Parse(ConfigurationWriter.Write(configuration), "written") with { EndOfSequence = [] },
            Is.EqualTo(configuration with { EndOfSequence = [] }));

    private static int?[] Windows(ModelConfiguration configuration) => [.. Enumerable.Range(0, configuration.LayerCount).Select(configuration.SlidingWindowOf)];

    private static JsonArray Layers(string kinds) => [.. kinds.Select(kind => (JsonNode)(kind == 's' ? "sliding_attention" : "full_attention"))];

    private static (string Key, JsonNode? Value)[] Phi3LongRope(string type) =>
    [
        ("original_max_position_embeddings", 16),
        ("rope_scaling", new JsonObject { ["type"] = type, ["short_factor"] = new JsonArray(1.0, 2.0), ["long_factor"] = new JsonArray(3.0, 4.0) }),
        ("head_dim", 4),
    ];

    private static void AssertRefused(string family, string message, params (string Key, JsonNode? Value)[] keys) =>
        Assert.That(() => Parse(family, keys), Throws.TypeOf<CheckpointException>().With.Message.Contains(message));

    private static ModelConfiguration Parse(string family, params (string Key, JsonNode? Value)[] keys)
    {
        var root = new JsonObject
        {
            ["model_type"] = family,
            ["hidden_size"] = 64,
            ["intermediate_size"] = 96,
            ["num_hidden_layers"] = 7,
            ["num_attention_heads"] = 8,
            ["num_key_value_heads"] = 4,
            ["vocab_size"] = 100,
            ["max_position_embeddings"] = 64,
            ["num_experts_per_tok"] = 2,
            [family == "mixtral" ? "num_local_experts" : "num_experts"] = 4,
            ["moe_intermediate_size"] = 40,
        };
        foreach (var (key, value) in keys)
        {
            root[key] = value?.DeepClone();
        }

        return ModelConfiguration.Parse(root.ToJsonString(), "folder/config.json");
    }
}
