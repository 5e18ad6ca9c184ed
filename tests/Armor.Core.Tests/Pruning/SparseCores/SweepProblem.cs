using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Tests.Pruning.SparseCores;

/// <summary>A random weight with a core of a pattern somewhere on its way, and wrappers near the identity (block size 0: none).</summary>
internal sealed record SweepProblem(
    SparsityPattern Pattern, int OutputBlock, int Rows, int InputBlock, int Columns, double[,] TargetValues, double[,] CoreValues, Tensor? A, Tensor? B)
{
    public Tensor Target { get; } = Matrices.ToTensor(TargetValues);

    public static SweepProblem Create(Random random, int outputBlock, int outputs, int inputBlock, int inputs, SparsityPattern pattern = default)
    {
        int rows = Math.Max(1, outputBlock) * outputs;
        int columns = inputBlock == 0 ? pattern.Group * inputs : inputBlock * inputs;
        double[,] core = Matrices.Random(random, rows, columns);
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j += pattern.Group)
            {
                foreach (int column in Enumerable.Range(j, pattern.Group).OrderBy(_ => random.Next()).Skip(pattern.Kept))
                {
                    core[i, column] = 0;
                }
            }
        }

        return new(pattern, outputBlock, rows, inputBlock, columns, Matrices.Random(random, rows, columns), core, Blocks(outputBlock, outputs), Blocks(inputBlock, inputs));

        Tensor? Blocks(int size, int count) => size == 0
            ? null
            : stack([.. Enumerable.Range(0, count).Select(_ => Matrices.ToTensor(Matrices.Random(random, size, size, 0.4 / Math.Sqrt(size))) + eye(size))]);
    }

    public ArmorFactorization Factorization() => new(Matrices.ToTensor(CoreValues), A?.clone(), B?.clone());

    /// <summary>The sweep goes strip by strip; where a loss couples columns the strips are wide.</summary>
    public int Strip(IProxyLoss loss)
    {
        int unit = Math.Max(Pattern.Group, InputBlock);
        return loss.CouplesBlocks(unit) ? (int)ColumnStrips.Of(Columns, unit).First().Count : unit;
    }

    /// <summary>What a sweep should come to, in float64 from its definition.</summary>
    public double[,] Reference(IProxyLoss loss, double[,] hessian)
    {
        using ArmorFactorization start = Factorization();
        return SweepReference.Sweep(
            TargetValues, hessian, Matrices.Spread(start.OutputBlocks, Rows), CoreValues, Matrices.Spread(start.InputBlocks, Columns), Pattern, Strip(loss));
    }

    /// <summary>The largest difference of a core from the expected one, relative where values are large.</summary>
    public double Worst(Tensor core, double[,] expected)
    {
        double[,] found = Matrices.FromTensor(core);
        double worst = 0;
        for (int i = 0; i < Rows; i++)
        {
            for (int j = 0; j < Columns; j++)
            {
                worst = Math.Max(worst, Math.Abs(found[i, j] - expected[i, j]) / (1 + Math.Abs(expected[i, j])));
            }
        }

        return worst;
    }
}
