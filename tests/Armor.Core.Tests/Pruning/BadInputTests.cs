using Armor.Core.Calibration;
using Armor.Core.Pruning;
using MathNet.Numerics.LinearAlgebra;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning;

/// <summary>
/// Weights and statistics as they go wrong: never a crash, never a value that is not finite, never a loss above NoWag-P's, in the loss told and in one
/// evaluated here in float64. What was done about the input is noted.
/// </summary>
[TestFixture]
public sealed class BadInputTests
{
    private const int Rows = 12;
    private const int Columns = 16;

    // Each with a word of the note that it must leave under the full Hessian, or none.
    private static readonly (string Name, string? Note)[] Inputs =
    [
        ("ordinary", null), ("no input", "Every input was zero"), ("rank 1", null), ("indefinite", "not positive definite"), ("duplicate columns", null),
        ("constant inputs", null), ("dead inputs", "4 of 16 inputs were zero"), ("zero rows and columns", "2 of 12 rows"), ("zero weight", "12 of 12 rows"),
        ("input outlier", null), ("weight outliers", null), ("five tokens", "Fewer calibration tokens (5)"), ("one token", "Fewer calibration tokens (1)"),
        ("huge weight", null), ("tiny weight", null), ("huge inputs", null), ("tiny inputs", null), ("huge weight, tiny inputs", null),
    ];

    private static readonly (string Name, ArmorPrunerOptions Options)[] Pruners =
    [
        ("fast", Short(ArmorPrunerOptions.Fast)),
        ("balanced", Short(ArmorPrunerOptions.Balanced) with { BlockSize = 8 }),
        ("quality, 4:8", Short(ArmorPrunerOptions.Quality) with { BlockSize = 16, Pattern = new(4, 8) }),
        ("paper", Short(ArmorPrunerOptions.Paper) with { BlockSize = 4 }),
        ("input side, no damping", Short(ArmorPrunerOptions.Balanced) with { BlockSize = 8, Wrappers = WrapperSides.Input, HessianDamping = 0 }),
        ("output side", Short(ArmorPrunerOptions.Balanced) with { BlockSize = 4, Wrappers = WrapperSides.Output }),
        ("gradient descent", Short(ArmorPrunerOptions.Balanced) with { BlockSize = 4, WrapperAlgorithm = WrapperAlgorithm.GradientDescent }),
        ("adam", Short(ArmorPrunerOptions.Balanced) with { BlockSize = 4, WrapperAlgorithm = WrapperAlgorithm.Adam, LearningRate = 1e-2 }),
        ("dense24", Short(ArmorPrunerOptions.Balanced) with { Method = PruningMethod.Dense24 }),
        ("dense24, 6:8", Short(ArmorPrunerOptions.Balanced) with { Method = PruningMethod.Dense24, Pattern = new(6, 8) }),
    ];

    [Test, Pairwise]
    public void No_input_makes_a_result_worse_than_NoWag_P(
        [ValueSource(nameof(InputNames))] string input, [ValueSource(nameof(PrunerNames))] string pruner, [Values] bool cross)
    {
        using var scope = NewDisposeScope();
        ArmorPrunerOptions options = Pruners.Single(known => known.Name == pruner).Options;
        Problem problem = Problem.Create(input);
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(problem.H, problem.Tokens, cross ? problem.C : null);
        PrunedWeight pruned = ArmorPruner.Create(options).Prune(problem.W, statistics);
        Assert.That(pruned.Layer.ToDense(), Has.All.Matches<float>(float.IsFinite));
        Assert.That(pruned.Loss, Is.LessThanOrEqualTo(pruned.StartLoss).And.Not.NaN);

        (double found, double start) = problem.Losses(pruned, options, cross);
        Assert.That(found, Is.LessThanOrEqualTo((start * (1 + 1e-4)) + 1e-7), $"told {pruned.Loss} of {pruned.StartLoss}: {string.Join(" ", pruned.Notes)}");
        if (problem.HasEnergy)
        {
            Assert.That(pruned.Loss, Is.EqualTo(found).Within((1e-3 * found) + 1e-6));
        }

        string? note = Inputs.Single(known => known.Name == input).Note;
        bool fullHessian = pruner != "paper" || !(note?.Contains("definite", StringComparison.Ordinal) == true || note?.Contains("Fewer", StringComparison.Ordinal) == true);
        if (note is not null && fullHessian)
        {
            Assert.That(pruned.Notes, Has.Some.Contains(note));
        }
    }

    [Test, Pairwise]
    public void Baselines_survive_any_input(
        [ValueSource(nameof(InputNames))] string input,
        [Values(PruningMethod.Magnitude, PruningMethod.Wanda, PruningMethod.NoWagP, PruningMethod.SparseGpt)] PruningMethod method,
        [Values(0, 0.01)] double damping)
    {
        using var scope = NewDisposeScope();
        Problem problem = Problem.Create(input);
        using ActivationStatistics statistics = ActivationStatistics.FromHessian(problem.H, problem.Tokens);
        PrunedWeight pruned = ArmorPruner.Create(ArmorPrunerOptions.Balanced with { Method = method, HessianDamping = damping }).Prune(problem.W, statistics);
        Assert.That(pruned.Layer.ToDense(), Has.All.Matches<float>(float.IsFinite));
        Assert.That(pruned.Loss, Is.Not.NaN);
    }

    [TestCase(double.NaN)]
    [TestCase(double.PositiveInfinity)]
    [TestCase(double.NegativeInfinity)]
    public void What_is_not_finite_is_refused_by_name(double value)
    {
        using var scope = NewDisposeScope();
        Tensor h = eye(Columns, dtype: float64);
        h[1, 2] = value;
        h[2, 1] = value;
        Assert.That(() => ActivationStatistics.FromHessian(h, 10), Throws.ArgumentException.With.Message.Contains("finite"));
        Assert.That(() => ActivationStatistics.FromHessian(eye(Columns), 10, h), Throws.ArgumentException.With.Message.Contains("finite"));
        Assert.That(() => ActivationStatistics.FromDiagonal([1, value], 10), Throws.ArgumentException.With.Message.Contains("finite"));
        Assert.That(() => ActivationStatistics.FromInputs(tensor(new[,] { { 1.0, value } })), Throws.TypeOf<CalibrationException>());
        using ActivationStatistics statistics = ActivationStatistics.FromDiagonal(ones(Columns), 10);
        Tensor weight = ones(Rows, Columns, dtype: float64);
        weight[3, 4] = value;
        Assert.That(() => ArmorPruner.Create(ArmorPrunerOptions.Fast).Prune(weight, statistics, "q_proj"), Throws.ArgumentException.With.Message.Contains("q_proj"));
        weight[3, 4] = 1e300;
        Assert.That(() => ArmorPruner.Create(ArmorPrunerOptions.Fast).Prune(weight, statistics, "q_proj"), Throws.ArgumentException.With.Message.Contains("beyond float32"));
    }

    private static IEnumerable<string> InputNames() => Inputs.Select(input => input.Name);

    private static IEnumerable<string> PrunerNames() => Pruners.Select(pruner => pruner.Name);

    private static ArmorPrunerOptions Short(ArmorPrunerOptions options) => options with
    {
        Stages = [.. options.Stages.Select(Short)],
        Dense24Stage = Short(options.Dense24Stage),
        MaxDegreeOfParallelism = 1,
    };

    private static PruningStage Short(PruningStage stage) => stage with
    {
        WarmUpCycles = Math.Min(stage.WarmUpCycles, 3),
        AnnealingCycles = Math.Min(stage.AnnealingCycles, 8),
        PolishCycles = Math.Min(stage.PolishCycles, 12),
    };

    private sealed record Problem(Tensor W, Tensor H, Tensor C, long Tokens)
    {
        public bool HasEnergy => H.diagonal().sum().ToNumber() > 0 && W.abs().sum().ToNumber() > 0;

        public static Problem Create(string name)
        {
            var random = new Random(31);
            long tokens = name switch { "five tokens" => 5, "one token" => 1, _ => 200 };
            double[,] w = Matrices.Random(random, Rows, Columns, 0.05);
            double[,] mix = Matrices.Random(random, Columns, Columns);
            double[,] x = Matrices.Product(Matrices.Random(random, (int)tokens, Columns), mix);
            double[,] dense = Matrices.Random(random, (int)tokens, Columns, 0.1);
            foreach ((int i, int j) in from i in Enumerable.Range(0, x.GetLength(0)) from j in Enumerable.Range(0, Columns) select (i, j))
            {
                x[i, j] = name switch
                {
                    "no input" => 0,
                    "rank 1" => x[i, 0] * (j + 1),
                    "indefinite" => j < 3 ? x[i, j] : x[i, j % 3] + x[i, (j + 1) % 3],
                    "duplicate columns" => x[i, j / 2 * 2],
                    "constant inputs" => 1 + j,
                    "dead inputs" when j % 4 == 1 => 0,
                    "input outlier" when j == 5 => 1e4 * x[i, j],
                    "huge inputs" => 1e30 * x[i, j],
                    "tiny inputs" or "huge weight, tiny inputs" => 1e-30 * x[i, j],
                    _ => x[i, j],
                };
                dense[i, j] = x[i, j] * (1 + dense[i, j]);
            }

            foreach ((int i, int j) in from i in Enumerable.Range(0, Rows) from j in Enumerable.Range(0, Columns) select (i, j))
            {
                w[i, j] = (float)(name switch
                {
                    "zero weight" => 0,
                    "zero rows and columns" when i is 2 or 3 || j is 6 or 7 => 0,
                    "duplicate columns" => w[i, j / 2 * 2],
                    "weight outliers" when (i, j) is (3, 5) or (4, 6) => 1e4,
                    "huge weight" or "huge weight, tiny inputs" => 1e30 * w[i, j],
                    "tiny weight" => 1e-30 * w[i, j],
                    _ => w[i, j],
                });
            }

            Matrix<double> inputs = Matrix<double>.Build.DenseOfArray(x);
            Matrix<double> h = inputs.TransposeThisAndMultiply(inputs) / tokens;
            if (name == "indefinite")
            {
                Vector<double> off = Vector<double>.Build.Dense(Columns, i => i % 2 == 0 ? 1 : -1) / Math.Sqrt(Columns);
                h -= 0.02 * h.Trace() * off.OuterProduct(off);
            }

            Matrix<double> c = Matrix<double>.Build.DenseOfArray(dense).TransposeThisAndMultiply(inputs) / tokens;
            return new Problem(tensor(w), tensor(((h + h.Transpose()) / 2).ToArray()), tensor(c.ToArray()), tokens);
        }

        /// <summary>The losses of a result and of NoWag-P, from their definitions, relative to that of an all-zero weight.</summary>
        public (double Found, double Start) Losses(PrunedWeight pruned, ArmorPrunerOptions options, bool cross)
        {
            // Powers of two, as the numbers would leave float64 where they are squared twice.
            double scaleW = Power(W.abs().max().ToNumber());
            double scaleH = Power(H.diagonal().mean().ToNumber());
            Matrix<double> w = Matrix<double>.Build.DenseOfArray(Matrices.FromTensor(W)) / scaleW;
            Matrix<double> h = Matrix<double>.Build.DenseOfArray(Matrices.FromTensor(H)) / scaleH;
            Matrix<double> c = Matrix<double>.Build.DenseOfArray(Matrices.FromTensor(C)) / scaleH;
            Matrix<double> found = Matrix<double>.Build.DenseOfArray(Matrices.FromRows(pruned.Layer.ToDense(), Rows, Columns)) / scaleW;
            double mean = h.Trace() / Columns;
            Matrix<double> identity = Matrix<double>.Build.DenseIdentity(Columns);
            Matrix<double> measure = mean > 0 ? h + (pruned.HessianDamping * mean * identity) : identity;
            Matrix<double> target = cross && options.CrossTarget && mean > 0
                ? measure.Transpose().Solve((w * (c + (pruned.HessianDamping * mean * identity))).Transpose()).Transpose()
                : w;
            Matrix<double> normalised = Normalised(target);
            bool paper = options.Stages[^1].Loss == StageLoss.NormalizedDiagonal && options.Method == PruningMethod.Armor;
            Matrix<double> importance = Matrix<double>.Build.Dense(Rows, Columns, (i, j) => normalised[i, j] * normalised[i, j] * h[j, j]);
            Matrix<double> start = target.Clone();
            for (int i = 0; i < Rows; i++)
            {
                for (int j = 0; j < Columns; j += options.Pattern.Group)
                {
                    foreach (int dropped in Enumerable.Range(j, options.Pattern.Group).OrderByDescending(k => (float)importance[i, k]).Skip(options.Pattern.Kept))
                    {
                        start[i, dropped] = 0;
                    }
                }
            }

            if (!paper)
            {
                return (Relative(target - found), Relative(target - start));
            }

            measure = Matrix<double>.Build.DenseOfDiagonalVector(
                mean > 0 ? h.Diagonal().PointwiseMaximum(1e-8 * mean) : Vector<double>.Build.Dense(Columns, 1));
            Matrix<double> inFrame = NormalisedLike(target, target - found);
            Matrix<double> startInFrame = NormalisedLike(target, target - start);
            double total = Quadratic(normalised, measure);
            return total > 0 ? (Quadratic(inFrame, measure) / total, Quadratic(startInFrame, measure) / total) : (0, 0);

            double Relative(Matrix<double> error)
            {
                double whole = Quadratic(target, measure);
                return whole > 0 ? Quadratic(error, measure) / whole : 0;
            }
        }

        private static double Power(double size) => size > 0 ? Math.ScaleB(1, Math.ILogB(size)) : 1;

        private static double Quadratic(Matrix<double> error, Matrix<double> measure) => (error * measure).PointwiseMultiply(error).Enumerate().Sum();

        private static Matrix<double> Normalised(Matrix<double> weight) => NormalisedLike(weight, weight);

        // W̄ = W / (r₁ r₂) of one matrix, applied to another.
        private static Matrix<double> NormalisedLike(Matrix<double> weight, Matrix<double> other)
        {
            double[] columns = [.. weight.EnumerateColumns().Select(column => column.L2Norm()).Select(norm => norm > 0 ? norm : 1)];
            Matrix<double> half = Matrix<double>.Build.Dense(Rows, Columns, (i, j) => weight[i, j] / columns[j]);
            double[] rows = [.. half.EnumerateRows().Select(row => row.L2Norm()).Select(norm => norm > 0 ? norm : 1)];
            return Matrix<double>.Build.Dense(Rows, Columns, (i, j) => other[i, j] / (columns[j] * rows[i]));
        }
    }
}
