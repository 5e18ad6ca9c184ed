using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;

namespace Armor.Cuda.SelfTest;

/// <summary>
/// Small random models of every family, run by the card and by the processor: attention, heads, norms, experts and recordings, which no product alone shows. A prompt
/// of more than a page of keys, with the logits of all its positions, then some tokens one by one.
/// </summary>
internal sealed class ModelConformance(CudaBackend backend, TextWriter report)
{
    private const int More = 5;

    /// <summary>Weights, keys and values, tokens of the prompt, and the root mean square of the difference against that of the logits. Random weights make roundings large.</summary>
    private static readonly (TensorElementType Weights, TensorElementType Cache, int Prompt, double Allowed)[] Kinds =
    [
        (TensorElementType.Float32, TensorElementType.Float32, 70, 1e-4),
        (TensorElementType.Float16, TensorElementType.Float16, 150, 0.02),
        (TensorElementType.BFloat16, TensorElementType.Float16, 20, 0.1),
    ];

    /// <summary>Families of which to check only some.</summary>
    public IReadOnlyCollection<string> Families { get; init; } = [.. RandomModel.All.Keys];

    /// <summary>Whether all are right.</summary>
    public bool Run()
    {
        report.WriteLine("## Models");
        report.WriteLine();
        report.WriteLine("| family | weights | keys and values | positions | difference of logits, worst | allowed | |");
        report.WriteLine("| --- | --- | --- | --- | --- | --- | --- |");
        var isRight = true;
        var folder = Directory.CreateTempSubdirectory("armor-selftest-");
        try
        {
            foreach (var family in Families)
            {
                var path = RandomModel.Write(Path.Combine(folder.FullName, $"{Guid.NewGuid():N}"), RandomModel.All[family]);
                foreach (var kind in Kinds)
                {
                    isRight &= Check(family, path, kind.Weights, kind.Cache, Math.Min(kind.Prompt, RandomModel.All[family].ContextLength - More), kind.Allowed);
                }
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        report.WriteLine();
        return isRight;
    }

    private bool Check(string family, string path, TensorElementType weights, TensorElementType cache, int prompt, double allowed)
    {
        string outcome;
        var worst = double.NaN;
        try
        {
            var distances = Distances(path, weights, cache, prompt);

            // Of experts that are nearly equally likely, a rounding may choose the other, which changes a position altogether.
            var judged = RandomModel.All[family].Experts is not null && weights != TensorElementType.Float32 ? distances.Length * 9 / 10 : distances.Length - 1;
            worst = distances.Order().ElementAt(judged);
            outcome = worst <= allowed ? "" : "WRONG";
        }
        catch (Exception exception) when (exception is CudaException or NotSupportedException or ArithmeticException or InsufficientMemoryException)
        {
            outcome = exception.Message.ReplaceLineEndings(" ");
        }

        report.WriteLine(FormattableString.Invariant($"| {family} | {weights} | {cache} | {prompt + More} | {worst:0.0e0} | {allowed:0.0e0} | {outcome} |"));
        return outcome.Length == 0;
    }

    /// <summary>Of each position.</summary>
    private double[] Distances(string path, TensorElementType weights, TensorElementType cache, int prompt)
    {
        using var model = ArmorModel.Load(path, new ArmorModelOptions { Backend = backend, WeightType = weights, CacheType = cache });
        using var reference = ArmorModel.Load(path, new ArmorModelOptions { WeightType = weights, CacheType = cache });
        using var session = model.CreateSession();
        using var expectedSession = reference.CreateSession();
        var random = new Random(7);
        int[] tokens = [.. Enumerable.Range(0, prompt + More).Select(_ => random.Next(RandomModel.Vocabulary))];
        var distances = new List<double>();
        for (var (first, count) = (0, prompt); first < tokens.Length; (first, count) = (first + count, 1))
        {
            var found = new float[count * RandomModel.Vocabulary];
            var expected = new float[found.Length];
            model.ForwardLogits(tokens.AsSpan(first, count), session, found);
            reference.ForwardLogits(tokens.AsSpan(first, count), expectedSession, expected);
            for (var row = 0; row < count; row++)
            {
                distances.Add(Distance(found.AsSpan(row * RandomModel.Vocabulary, RandomModel.Vocabulary), expected.AsSpan(row * RandomModel.Vocabulary, RandomModel.Vocabulary)));
            }
        }

        return [.. distances];
    }

    private static double Distance(ReadOnlySpan<float> found, ReadOnlySpan<float> expected)
    {
        double square = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            square += Math.Pow((double)found[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        // What is not a number is as far as can be.
        return square >= 0 ? Math.Sqrt(square / norm) : double.PositiveInfinity;
    }
}
