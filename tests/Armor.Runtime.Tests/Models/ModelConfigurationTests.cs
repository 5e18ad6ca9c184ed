using System.Text.Json.Nodes;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Runtime.Tests.Models;

public sealed class ModelConfigurationTests
{
    [Test]
    public void Llama_defaults_are_filled_in()
    {
        var configuration = Parse();
        Assert.That(configuration, Is.EqualTo(new ModelConfiguration
        {
            Family = ModelFamily.Llama,
            HiddenSize = 64,
            IntermediateSize = 96,
            LayerCount = 2,
            AttentionHeadCount = 8,
            KeyValueHeadCount = 8,
            HeadSize = 8,
            VocabularySize = 100,
            ContextLength = 32,
            NormEpsilon = 1e-6f,
            RopeTheta = 10000,
            EndOfSequence = configuration.EndOfSequence,
        }));
        Assert.That(configuration.EndOfSequence, Is.Empty);
    }

    [Test]
    public void Head_size_may_differ_from_hidden_over_heads()
    {
        var configuration = Parse(("head_dim", 32), ("num_key_value_heads", 2));
        Assert.That((configuration.HeadSize, configuration.QuerySize, configuration.KeyValueSize), Is.EqualTo((32, 256, 64)));
    }

    [Test]
    public void Head_dim_null_is_derived() => Assert.That(Parse(("head_dim", null)).HeadSize, Is.EqualTo(8));

    [Test]
    public void Qwen3_heads_are_128_unless_the_file_says_otherwise() =>
        Assert.That(Parse(("model_type", "qwen3"), ("num_key_value_heads", 8)).HeadSize, Is.EqualTo(128));

    [TestCase("llama", true, true, true)]
    [TestCase("qwen3", true, true, true)]
    [TestCase("qwen2", false, true, false)]
    [TestCase("qwen2", true, true, false)]
    [TestCase("mistral", true, false, false)]
    [TestCase("llama", false, false, false)]
    public void Biases_follow_the_family(string family, bool attentionBias, bool queryKeyValue, bool output)
    {
        var configuration = Parse(("model_type", family), ("attention_bias", attentionBias), ("num_key_value_heads", 8));
        Assert.That((configuration.QueryKeyValueBias, configuration.OutputBias), Is.EqualTo((queryKeyValue, output)));
        Assert.That(configuration.QueryKeyNorm, Is.EqualTo(family == "qwen3"));
    }

    [Test]
    public void Mlp_bias_is_read() => Assert.That(Parse(("mlp_bias", true)).MlpBias, Is.True);

    [Test]
    public void Llama3_scaling_is_read()
    {
        var configuration = Parse(("rope_theta", 500000.0), ("rope_scaling", Llama3("rope_type")));
        Assert.That(configuration.RopeTheta, Is.EqualTo(500000));
        Assert.That(configuration.RopeScaling, Is.EqualTo(new RopeScaling(RopeScalingKind.Llama3, 8, 1, 4, 8192)));
    }

    [Test]
    public void Newer_files_keep_theta_and_scaling_in_rope_parameters()
    {
        var rope = Llama3("rope_type");
        rope["rope_theta"] = 250000.0;
        var configuration = Parse(("rope_parameters", rope));
        Assert.That(configuration.RopeTheta, Is.EqualTo(250000));
        Assert.That(configuration.RopeScaling, Is.EqualTo(new RopeScaling(RopeScalingKind.Llama3, 8, 1, 4, 8192)));
    }

    [Test]
    public void Older_files_call_the_type_type()
    {
        var scaling = new JsonObject { ["type"] = "linear", ["factor"] = 2.5 };
        Assert.That(Parse(("rope_scaling", scaling)).RopeScaling, Is.EqualTo(new RopeScaling(RopeScalingKind.Linear, 2.5)));
    }

    [Test]
    public void The_default_type_scales_nothing()
    {
        var rope = new JsonObject { ["rope_type"] = "default", ["rope_theta"] = 1e6 };
        var configuration = Parse(("rope_parameters", rope));
        Assert.That((configuration.RopeTheta, configuration.RopeScaling), Is.EqualTo((1e6, (RopeScaling?)null)));
    }

    [TestCase("yarn")]
    [TestCase("dynamic")]
    [TestCase("longrope")]
    public void Scalings_that_are_not_computed_are_refused(string type) =>
        AssertRefused([("rope_scaling", new JsonObject { ["rope_type"] = type, ["factor"] = 2.0 })], $"rope_scaling.rope_type: expected \"default\", \"linear\" or \"llama3\", found \"{type}\"");

    [Test]
    public void Frequencies_of_llama3_are_those_of_the_reference_code()
    {
        // Llama 3.1-8B; values from the published formula in double precision, wavelengths 2π/f against 8192/4 and 8192/1.
        var plain = RopeScaling.Frequencies(500000, 128, null);
        var scaled = RopeScaling.Frequencies(500000, 128, new RopeScaling(RopeScalingKind.Llama3, 8, 1, 4, 8192));
        Assert.That(scaled, Has.Length.EqualTo(64));
        for (var i = 0; i < 64; i++)
        {
            var wavelength = 2 * Math.PI / plain[i];
            var expected = wavelength < 2048 ? plain[i] : wavelength > 8192 ? plain[i] / 8 : double.NaN;
            if (double.IsNaN(expected))
            {
                Assert.That(scaled[i], Is.GreaterThan(plain[i] / 8).And.LessThan(plain[i]));
            }
            else
            {
                Assert.That(scaled[i], Is.EqualTo(expected).Within(1e-15));
            }
        }

        Assert.That(scaled[0], Is.EqualTo(1));
        Assert.That(scaled[63], Is.EqualTo(Math.Pow(500000, -126.0 / 128) / 8).Within(1e-18));
    }

    [Test]
    public void Mistral_has_a_window_unless_the_file_says_null()
    {
        Assert.That(Parse(("model_type", "mistral"), ("num_key_value_heads", 2)).SlidingWindow, Is.EqualTo(4096));
        Assert.That(Parse(("model_type", "mistral"), ("num_key_value_heads", 2), ("sliding_window", 16)).SlidingWindow, Is.EqualTo(16));
        Assert.That(Parse(("model_type", "mistral"), ("num_key_value_heads", 2), ("sliding_window", null)).SlidingWindow, Is.Null);
    }

    [Test]
    public void Qwens_window_needs_its_switch_and_starts_at_a_layer()
    {
        (string, JsonNode?)[] keys = [("model_type", "qwen2"), ("num_key_value_heads", 2), ("sliding_window", 16), ("max_window_layers", 1)];
        Assert.That(Parse([.. keys, ("use_sliding_window", false)]).SlidingWindow, Is.Null);

        var configuration = Parse([.. keys, ("use_sliding_window", true), ("layer_types", new JsonArray("full_attention", "sliding_attention"))]);
        Assert.That((configuration.SlidingWindowOf(0), configuration.SlidingWindowOf(1)), Is.EqualTo(((int?)null, (int?)16)));
        AssertRefused([.. keys, ("use_sliding_window", true), ("layer_types", new JsonArray("sliding_attention", "sliding_attention"))], "layer_types[0]");
    }

    [Test]
    public void Tokens_may_be_a_number_an_array_or_nothing()
    {
        var configuration = Parse(("bos_token_id", 1), ("eos_token_id", new JsonArray(2, 3)));
        Assert.That(configuration.BeginOfSequence, Is.EqualTo(1));
        Assert.That(configuration.EndOfSequence, Is.EqualTo(new[] { 2, 3 }));
        Assert.That(Parse(("bos_token_id", null), ("eos_token_id", 4)).EndOfSequence, Is.EqualTo(new[] { 4 }));
        Assert.That(Parse(("bos_token_id", null)).BeginOfSequence, Is.Null);
    }

    [TestCase("torch_dtype", "float16", TensorElementType.Float16)]
    [TestCase("dtype", "bfloat16", TensorElementType.BFloat16)]
    [TestCase("torch_dtype", "float32", TensorElementType.Float32)]
    public void The_stored_type_is_read_under_both_names(string key, string value, TensorElementType expected) =>
        Assert.That(Parse((key, value)).StoredType, Is.EqualTo(expected));

    [Test]
    public void An_unknown_family_is_refused_with_the_known_ones() =>
        AssertRefused([("model_type", "mamba")], "model_type: expected one of \"llama\", \"mistral\", \"qwen2\", \"qwen3\", \"gemma2\", \"gemma3_text\", \"phi3\", \"mixtral\", \"qwen3_moe\", found \"mamba\"");

    [Test]
    public void Every_violation_is_in_one_message()
    {
        var exception = Assert.Throws<CheckpointException>(() =>
            Parse(("hidden_size", -64), ("vocab_size", "many"), ("num_hidden_layers", 1e9), ("tie_word_embeddings", 3), ("rms_norm_eps", 0)));
        Assert.That(exception!.Message, Does.StartWith("folder/config.json: ")
            .And.Contains("hidden_size: expected a whole number from 1 to 1048576, found -64")
            .And.Contains("vocab_size: expected a whole number from 1 to 16777216, found \"many\"")
            .And.Contains("num_hidden_layers: expected a whole number from 1 to 16384, found 1000000000")
            .And.Contains("tie_word_embeddings: expected true or false, found 3")
            .And.Contains("rms_norm_eps: expected a number above 0 and below 1, found 0"));
    }

    private static IEnumerable<TestCaseData> Violations()
    {
        yield return new TestCaseData("hidden_size", 60, "hidden_size: expected a multiple of num_attention_heads (8), as head_dim is absent, found 60");
        yield return new TestCaseData("num_key_value_heads", 3, "num_key_value_heads: expected a divisor of num_attention_heads (8), found 3");
        yield return new TestCaseData("head_dim", 7, "head_dim: expected an even number, found 7");
        yield return new TestCaseData("head_dim", 1 << 20, "num_attention_heads: expected heads x head_dim of at most 1048576, found 8388608");
        yield return new TestCaseData("hidden_size", 1L << 40, "hidden_size: expected a whole number from 1 to 1048576, found 1099511627776");
        yield return new TestCaseData("hidden_size", 64.5, "hidden_size");
        yield return new TestCaseData("intermediate_size", 0, "intermediate_size: expected a whole number from 1 to 1048576, found 0");
        yield return new TestCaseData("max_position_embeddings", -1, "max_position_embeddings");
        yield return new TestCaseData("rope_theta", -1.0, "rope_theta: expected a number above 0, found -1");
        yield return new TestCaseData("hidden_act", "gelu", "hidden_act: expected \"silu\", found \"gelu\"");
        yield return new TestCaseData("torch_dtype", "int8", "torch_dtype");
        yield return new TestCaseData("bos_token_id", 100, "bos_token_id: expected tokens from 0 to 99, found 100");
        yield return new TestCaseData("eos_token_id", "end", "eos_token_id: expected tokens from 0 to 99, found \"end\"");
        yield return new TestCaseData("quantization_config", new JsonObject(), "quantization_config");
        yield return new TestCaseData("partial_rotary_factor", 0.5, "partial_rotary_factor: expected 1, found 0.5");
        yield return new TestCaseData("rope_scaling", 3, "rope_scaling: expected an object, found 3");
        yield return new TestCaseData("rope_scaling", new JsonObject { ["rope_type"] = "linear" }, "rope_scaling.factor: expected a number of at least 1, found nothing");
        yield return new TestCaseData("rope_scaling", new JsonObject { ["rope_type"] = "linear", ["factor"] = 0.5 }, "rope_scaling.factor");
    }

    [TestCaseSource(nameof(Violations))]
    public void A_violation_names_key_expected_and_found(string key, object value, string message) =>
        AssertRefused([(key, value as JsonNode ?? JsonValue.Create(value))], message);

    [TestCase("hidden_size")]
    [TestCase("intermediate_size")]
    [TestCase("num_hidden_layers")]
    [TestCase("num_attention_heads")]
    [TestCase("vocab_size")]
    [TestCase("max_position_embeddings")]
    [TestCase("model_type")]
    public void A_missing_key_is_named(string key)
    {
        var root = Minimal();
        root.Remove(key);
        Assert.That(
            () => ModelConfiguration.Parse(root.ToJsonString(), "folder/config.json"),
            Throws.TypeOf<CheckpointException>().With.Message.Contains($"{key}: expected ").And.Message.Contains("found nothing"));
    }

    [TestCase("")]
    [TestCase("{")]
    [TestCase("[]")]
    [TestCase("null")]
    [TestCase("{\"model_type\":\"llama\",\"model_type\":\"qwen2\"}")]
    public void What_is_no_object_is_refused_with_the_files_name(string json) =>
        Assert.That(() => ModelConfiguration.Parse(json, "folder/config.json"), Throws.TypeOf<CheckpointException>().With.Message.StartsWith("folder/config.json: "));

    [Test]
    public void A_missing_file_is_named()
    {
        using var folder = new TemporaryFolder();
        Assert.That(() => ModelConfiguration.Load(folder.Path), Throws.TypeOf<CheckpointException>().With.Message.Contains(folder.File("config.json")));
    }

    [Test]
    public void A_configuration_that_a_family_cannot_say_is_not_written() =>
        Assert.That(() => ConfigurationWriter.Write(Parse() with { SlidingWindow = 8 }), Throws.ArgumentException);

    [Category("SharedData")]
    [TestCase("models/babyllama361")]
    [TestCase("models/stories260K")]
    public void Real_folders_are_whole(string folder)
    {
        using var checkpoint = CheckpointFolder.Open(SharedData.Path(folder));
        CheckpointVerification.Verify(checkpoint);
        Assert.That(ModelShapes.ParameterCount(checkpoint.Configuration), Is.EqualTo(checkpoint.Tensors.Values.Sum(tensor => tensor.ElementCount)));
    }

    private static void AssertRefused((string Key, JsonNode? Value)[] keys, string message) =>
        Assert.That(() => Parse(keys), Throws.TypeOf<CheckpointException>().With.Message.Contains(message));

    private static ModelConfiguration Parse(params (string Key, JsonNode? Value)[] keys)
    {
        var root = Minimal();
        foreach (var (key, value) in keys)
        {
            root[key] = value?.DeepClone();
        }

        return ModelConfiguration.Parse(root.ToJsonString(), "folder/config.json");
    }

    private static JsonObject Minimal() => new()
    {
        ["model_type"] = "llama",
        ["hidden_size"] = 64,
        ["intermediate_size"] = 96,
        ["num_hidden_layers"] = 2,
        ["num_attention_heads"] = 8,
        ["vocab_size"] = 100,
        ["max_position_embeddings"] = 32,
    };

    private static JsonObject Llama3(string typeKey) => new()
    {
        [typeKey] = "llama3",
        ["factor"] = 8.0,
        ["low_freq_factor"] = 1.0,
        ["high_freq_factor"] = 4.0,
        ["original_max_position_embeddings"] = 8192,
    };
}
