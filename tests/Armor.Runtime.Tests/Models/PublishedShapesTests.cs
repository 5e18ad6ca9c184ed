using Armor.Runtime.Models;

namespace Armor.Runtime.Tests.Models;

/// <summary>Published configurations against shapes that <c>Published/generate.py</c> derives on its own.</summary>
public sealed class PublishedShapesTests
{
    private static readonly string s_folder = RepositoryFolder.Path("tests/Armor.Runtime.Tests/Models/Published");

    public static IEnumerable<string> Models() =>
        Directory.GetFiles(s_folder, "*.config.json").Select(file => Path.GetFileName(file)[..^".config.json".Length]).Order(StringComparer.Ordinal);

    [Test]
    public void All_published_models_are_there() => Assert.That(Models().Count(), Is.EqualTo(23));

    [TestCaseSource(nameof(Models))]
    public void Names_shapes_and_number_of_parameters_are_the_publishers(string model)
    {
        var configuration = Parse(model);
        var golden = File.ReadAllLines(Path.Combine(s_folder, model + ".shapes.txt"));
        var shapes = Stored(configuration).ToList();

        Assert.That($"parameters {ModelShapes.ParameterCount(configuration)}", Is.EqualTo(golden[0]));
        Assert.That($"tensors {shapes.Count}", Is.EqualTo(golden[1]));
        var last = ModelShapes.LayerPrefix(configuration.LayerCount - 1);
        var found = shapes
            .Where(shape => !shape.Name.Contains(".layers.") || shape.Name.StartsWith("model.layers.0.", StringComparison.Ordinal) || shape.Name.StartsWith(last, StringComparison.Ordinal))
            .Select(shape => $"{shape.Name} [{string.Join(", ", shape.Shape)}]")
            .Order(StringComparer.Ordinal);
        Assert.That(found, Is.EqualTo(golden.Skip(2).Order(StringComparer.Ordinal)));
    }

    [TestCaseSource(nameof(Models))]
    public void Writing_and_parsing_gives_the_same_configuration(string model)
    {
        var configuration = Parse(model);
        var again = ModelConfiguration.Parse(ConfigurationWriter.Write(configuration), "again");
        Assert.That(again with { EndOfSequence = [] }, Is.EqualTo(configuration with { EndOfSequence = [] }));
        Assert.That(again.EndOfSequence, Is.EqualTo(configuration.EndOfSequence));
    }

    [Test]
    public void Linears_are_the_two_dimensional_weights_of_the_layers()
    {
        var configuration = Parse("qwen3-8b");
        var linears = ModelShapes.LinearNames(configuration).ToList();
        var matrices = ModelShapes.Enumerate(configuration)
            .Where(shape => shape.Shape.Count == 2 && shape.Name.Contains(".layers."))
            .Select(shape => shape.Name[..^".weight".Length]);

        Assert.That(linears, Has.Count.EqualTo(7 * 36).And.Unique);
        Assert.That(linears, Is.EquivalentTo(matrices));
    }

    [Test]
    public void Linears_of_a_group_read_the_same_number_of_inputs()
    {
        var groups = ModelShapes.Linears(Parse("llama-3.2-3b")).GroupBy(linear => linear.Group).ToDictionary(group => group.Key, group => group.ToList());
        Assert.That(groups[LinearGroup.AttentionInput].Select(linear => linear.Name), Is.EqualTo(new[] { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj" }));
        Assert.That(groups[LinearGroup.AttentionOutput].Select(linear => linear.Name), Is.EqualTo(new[] { "self_attn.o_proj" }));
        Assert.That(groups[LinearGroup.MlpInput].Select(linear => linear.Name), Is.EqualTo(new[] { "mlp.gate_proj", "mlp.up_proj" }));
        Assert.That(groups[LinearGroup.MlpOutput].Select(linear => linear.Name), Is.EqualTo(new[] { "mlp.down_proj" }));
        Assert.That(groups.Values.Select(group => group.DistinctBy(linear => linear.Columns).Count()), Is.All.EqualTo(1));
    }

    /// <summary>The tensors as files have them: parts of a fused weight stacked.</summary>
    private static IEnumerable<TensorShape> Stored(ModelConfiguration configuration)
    {
        var fused = ModelShapes.FusedLinears(configuration);
        return ModelShapes.Enumerate(configuration)
            .GroupBy(shape => fused.FirstOrDefault(linear => linear.Parts.Any(part => shape.Name.EndsWith($".{part}.weight", StringComparison.Ordinal))) is { } whole
                ? $"{shape.Name[..shape.Name.IndexOf(whole.Name.Split('.')[0], StringComparison.Ordinal)]}{whole.Name}.weight"
                : shape.Name)
            .Select(parts => new TensorShape(parts.Key, [parts.Sum(part => part.Shape[0]), .. parts.First().Shape.Skip(1)]));
    }

    private static ModelConfiguration Parse(string model)
    {
        var path = Path.Combine(s_folder, model + ".config.json");
        return ModelConfiguration.Parse(File.ReadAllText(path), path);
    }
}
