using Armor.Core.Modules;
using Armor.Runtime.Models;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Modules;

public sealed class CausalLanguageModelTests
{
    private const int Length = 17;

    [TestCaseSource(typeof(TinyModels), nameof(TinyModels.Families))]
    public void Logits_equal_those_of_a_plain_double_precision_transformer(ModelConfiguration configuration)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var model = TinyModels.Create(configuration);
        int[][] sequences = [TinyModels.Tokens(configuration, Length, 1), TinyModels.Tokens(configuration, Length, 2)];
        var reference = new ReferenceTransformer(configuration, TinyModels.Weights(model));

        var logits = TinyModels.Doubles(model.Forward(TinyModels.Batch(sequences)));

        var expected = sequences.SelectMany(sequence => reference.Logits(sequence)).SelectMany(row => row).ToArray();
        var scale = Math.Max(1, expected.Max(Math.Abs));
        Assert.That(logits, Is.EqualTo(expected).Within(1e-4 * scale));
    }

    [TestCaseSource(typeof(TinyModels), nameof(TinyModels.Families))]
    public void Stages_of_a_layer_equal_its_whole(ModelConfiguration configuration)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var model = TinyModels.Create(configuration);
        var x = model.Embed(TinyModels.Batch(TinyModels.Tokens(configuration, Length, 1)));
        foreach (var layer in model.Layers)
        {
            var attended = layer.AddAttention(x, layer.AttentionContext(layer.AttentionInput(x)));
            var staged = layer.AddMlp(attended, layer.MlpActivation(layer.MlpInput(attended)));
            x = layer.Forward(x);
            Assert.That(TinyModels.Doubles(staged), Is.EqualTo(TinyModels.Doubles(x)));
        }
    }

    [TestCaseSource(typeof(TinyModels), nameof(TinyModels.Families))]
    public void Tokens_fed_through_a_cache_give_the_logits_of_the_whole(ModelConfiguration configuration)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var model = TinyModels.Create(configuration);
        var tokens = TinyModels.Batch(TinyModels.Tokens(configuration, Length, 1), TinyModels.Tokens(configuration, Length, 2));
        var whole = TinyModels.Doubles(model.Forward(tokens));

        using var cache = new KeyValueCache(configuration, 2, Length);
        var parts = new List<Tensor>();
        var start = 0;
        foreach (var count in new[] { 6, 1, 1, 5, 1, 3 })
        {
            parts.Add(model.Forward(tokens.narrow(1, start, count), cache));
            start += count;
        }

        Assert.That(start, Is.EqualTo(Length));
        Assert.That(TinyModels.Doubles(cat(parts, 1)), Is.EqualTo(whole).Within(1e-4));
    }

    [Test]
    public void A_full_cache_refuses_more()
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var model = TinyModels.Create(TinyModels.Llama);
        using var cache = new KeyValueCache(TinyModels.Llama, 1, 4);
        using var first = model.Forward(TinyModels.Batch(TinyModels.Tokens(TinyModels.Llama, 3, 1)), cache);

        Assert.That(
            () => model.Forward(TinyModels.Batch(TinyModels.Tokens(TinyModels.Llama, 2, 1)), cache),
            Throws.InvalidOperationException.With.Message.Contains("4 positions").And.Message.Contains("3 are used"));
    }

    [Test]
    public void Padding_on_the_right_does_not_reach_the_positions_before()
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var model = TinyModels.Create(TinyModels.Llama);
        var tokens = TinyModels.Tokens(TinyModels.Llama, 9, 1);
        var alone = model.Forward(TinyModels.Batch(tokens));
        var padded = model.Forward(TinyModels.Batch([.. tokens, 0, 0, 0, 0], TinyModels.Tokens(TinyModels.Llama, 13, 2)));

        var same = padded.narrow(0, 0, 1).narrow(1, 0, 9);
        Assert.That(TinyModels.Doubles(same), Is.EqualTo(TinyModels.Doubles(alone)).Within(1e-5));
    }

    [Test]
    public void A_forward_pass_leaves_nothing_but_its_result()
    {
        using var model = TinyModels.Create(TinyModels.Llama with { Family = ModelFamily.Qwen3, QueryKeyNorm = true, SlidingWindow = 4 });
        using var tokens = TinyModels.Batch(TinyModels.Tokens(TinyModels.Llama, Length, 1));
        using var withoutGradients = no_grad();
        model.Forward(tokens).Dispose();

        var before = Alive();
        for (var i = 0; i < 5; i++)
        {
            model.Forward(tokens).Dispose();
            using var x = model.Embed(tokens);
            using var y = model.Layers[0].AttentionContext(x);
            using var z = model.Layers[0].MlpActivation(x);
        }

        Assert.That(Alive(), Is.EqualTo(before));
    }

    [Test]
    public void A_training_step_leaves_nothing_but_its_gradients()
    {
        using var model = TinyModels.Create(TinyModels.Llama);
        model.RequireGradients(true);
        using var tokens = TinyModels.Batch(TinyModels.Tokens(TinyModels.Llama, Length, 1));
        Step();

        var before = Alive();
        Step();
        Step();
        Assert.That(Alive(), Is.EqualTo(before));

        void Step()
        {
            using var scope = NewDisposeScope();
            model.Forward(tokens).square().mean().backward();
        }
    }

    [Test]
    public void A_disposed_model_leaves_no_tensor()
    {
        var before = Alive();
        using (var model = TinyModels.Create(TinyModels.Llama))
        using (var tokens = TinyModels.Batch(TinyModels.Tokens(TinyModels.Llama, Length, 1)))
        {
            model.Forward(tokens).Dispose();
        }

        Assert.That(Alive(), Is.EqualTo(before));
    }

    [Test]
    public void Gradients_reach_every_weight_and_agree_with_finite_differences()
    {
        var configuration = TinyModels.Llama with { Family = ModelFamily.Qwen3, QueryKeyNorm = true, TieWordEmbeddings = false };
        using var scope = NewDisposeScope();
        using var model = TinyModels.Create(configuration);
        model.RequireGradients(true);
        var sequence = TinyModels.Tokens(configuration, 8, 1);
        Loss().backward();

        var reference = TinyModels.Weights(model);
        foreach (var (name, weight) in model.Weights)
        {
            // One element a weight: the embedding's must belong to a token of the sequence.
            var index = name == ModelShapes.Embedding ? sequence[2] * configuration.HiddenSize : reference[name].Length / 2;
            var slope = (At(name, index, 1e-5) - At(name, index, -1e-5)) / 2e-5;
            var gradient = TinyModels.Doubles(weight.grad!)[index];
            Assert.That(gradient, Is.EqualTo(slope).Within(2e-3 * Math.Max(1, Math.Abs(slope))), name);
        }

        Tensor Loss() => model.Forward(TinyModels.Batch(sequence)).square().mean();

        double At(string name, int index, double change)
        {
            reference[name][index] += change;
            var logits = new ReferenceTransformer(configuration, reference).Logits(sequence);
            reference[name][index] -= change;
            return logits.SelectMany(row => row).Average(value => value * value);
        }
    }

    [Test]
    public void Compute_in_bfloat16_stays_near_single_precision()
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var model = TinyModels.Create(TinyModels.Llama);
        var tokens = TinyModels.Batch(TinyModels.Tokens(TinyModels.Llama, Length, 1));
        var exact = model.Forward(tokens);
        model.ComputeType = ScalarType.BFloat16;
        var rounded = model.Forward(tokens);

        Assert.That(rounded.dtype, Is.EqualTo(ScalarType.BFloat16));
        var error = (rounded.to(ScalarType.Float32) - exact).square().mean().item<float>() / exact.square().mean().item<float>();
        Assert.That(error, Is.InRange(1e-9, 3e-3));
    }

    [Test]
    public void Equal_seeds_give_equal_models_and_others_do_not()
    {
        using var first = new CausalLanguageModel(TinyModels.Llama, 5);
        using var second = new CausalLanguageModel(TinyModels.Llama, 5);
        using var third = new CausalLanguageModel(TinyModels.Llama, 6);
        const string Name = "model.layers.1.mlp.up_proj.weight";

        Assert.That(TinyModels.Doubles(first.GetWeight(Name)), Is.EqualTo(TinyModels.Doubles(second.GetWeight(Name))));
        Assert.That(TinyModels.Doubles(first.GetWeight(Name)), Is.Not.EqualTo(TinyModels.Doubles(third.GetWeight(Name))));
    }

    [Test]
    public void A_replaced_linear_is_used_and_restored()
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        using var model = TinyModels.Create(TinyModels.Llama with { MlpBias = true });
        var tokens = TinyModels.Batch(TinyModels.Tokens(TinyModels.Llama, Length, 1));
        var before = TinyModels.Doubles(model.Forward(tokens));
        var layer = model.Layers[1];
        var half = layer.GetLinearWeight("mlp.down_proj") * 0.5f;

        layer.ReplaceLinear("mlp.down_proj", x => x.matmul(half.t()));
        var replaced = TinyModels.Doubles(model.Forward(tokens));
        layer.ReplaceLinear("mlp.down_proj", null);
        Assert.That(TinyModels.Doubles(model.Forward(tokens)), Is.EqualTo(before));

        layer.SetLinearWeight("mlp.down_proj", half);
        Assert.That(TinyModels.Doubles(model.Forward(tokens)), Is.EqualTo(replaced).Within(1e-5));
        Assert.That(replaced, Is.Not.EqualTo(before).Within(1e-3));
    }

    [Test]
    public void Unknown_names_and_wrong_shapes_are_named()
    {
        using var model = TinyModels.Create(TinyModels.Llama);
        using var wrong = zeros(3, 4);

        Assert.That(() => model.GetWeight("model.layers.9.mlp.up_proj.weight"), Throws.ArgumentException.With.Message.Contains("layers.9"));
        Assert.That(() => model.Layers[0].GetLinearWeight("mlp.side_proj"), Throws.ArgumentException.With.Message.Contains("side_proj"));
        Assert.That(
            () => model.SetWeight("model.layers.0.mlp.up_proj.weight", wrong),
            Throws.ArgumentException.With.Message.Contains("[40, 24]").And.Message.Contains("[3, 4]"));
    }

    private static long Alive()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return DisposeScopeManager.Statistics.TensorStatistics.ThreadTotalLiveCount;
    }
}
