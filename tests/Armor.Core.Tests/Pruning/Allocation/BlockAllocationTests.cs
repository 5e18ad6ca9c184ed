using Armor.Core.Pruning;
using Armor.Core.Pruning.Allocation;
using CsCheck;

namespace Armor.Core.Tests.Pruning.Allocation;

[TestFixture]
public sealed class BlockAllocationTests
{
    // Sizes 4, 8, 16, 32 on one side of a weight with 10 rows: 40, 80, 160, 320 values.
    private static readonly int[] Sizes = [4, 8, 16, 32];

    [Test]
    public void Storage_goes_where_it_takes_most_off_the_loss()
    {
        IReadOnlyDictionary<string, BlockSizes> chosen = BlockAllocation.Choose(
        [
            Linear("steep", 1, [12, 8, 1, 0.9]),
            Linear("flat", 1, [2.1, 2, 1.9, 1.8]),
            Linear("flatter", 1, [1.01, 1, 0.99, 0.98]),
        ]);
        Assert.That(chosen.Select(choice => (choice.Key, choice.Value.Output)), Is.EquivalentTo(new (string, int?)[] { ("steep", 16), ("flat", 4), ("flatter", 4) }));
    }

    [Test]
    public void Sizes_stay_where_no_exchange_pays()
    {
        // Alone and within the storage of its usual size a linear could only lose: half the size, or one that does not fit.
        IReadOnlyDictionary<string, BlockSizes> chosen = BlockAllocation.Choose([Linear("alone", 1, [10, 9, 0, 0])]);
        Assert.That(chosen["alone"].Output, Is.EqualTo(8));
    }

    [Test]
    public void Losses_that_are_not_finite_do_not_count()
    {
        IReadOnlyDictionary<string, BlockSizes> chosen = BlockAllocation.Choose(
        [
            Linear("broken", 1, [0, double.NaN, 0, 0]),
            Linear("steep", 1, [12, 8, double.PositiveInfinity, double.NaN]),
            Linear("flat", 1, [2.1, 2, double.NaN, 1.8]),
            Linear("steeper", 1, [20, 15, 1, 1]),
        ]);
        Assert.That(chosen["broken"].Output, Is.EqualTo(8), "its storage is not lent out either");
        Assert.That(chosen.Values.Sum(blocks => blocks.Output), Is.LessThanOrEqualTo(4 * 8));
        Assert.That((chosen["steep"].Output, chosen["flat"].Output, chosen["steeper"].Output), Is.EqualTo(((int?)4, (int?)4, (int?)16)));
    }

    [Test]
    public void Nothing_to_choose_chooses_nothing()
    {
        Assert.That(BlockAllocation.Choose([]), Is.Empty);
        var alone = new LinearTrials("alone", 10, 8, [new BlockTrial(default, 3)]);
        Assert.That(BlockAllocation.Choose([alone])["alone"], Is.EqualTo(default(BlockSizes)));
    }

    [Test]
    public void Storage_and_loss_are_never_above_the_usual_and_near_the_best_there_is()
    {
        Gen<double> loss = Gen.OneOf(Gen.Double[0, 10], Gen.Int[0, 3].Select(value => (double)value), Gen.Const(double.NaN));
        Gen<(int Rows, double[] Losses)> linear = Gen.Select(Gen.Int[1, 30], loss.Array[Sizes.Length]);
        linear.Array[1, 5].Sample(drawn =>
        {
            LinearTrials[] linears = [.. drawn.Select((one, index) => Linear($"{index}", one.Rows, one.Losses))];
            IReadOnlyDictionary<string, BlockSizes> chosen = BlockAllocation.Choose(linears);
            LinearTrials[] counted = [.. linears.Where(one => double.IsFinite(one.Trials[0].Loss))];
            long budget = counted.Sum(one => Cost(one, one.Trials[0]));
            BlockTrial[] picked = [.. counted.Select(one => one.Trials.First(trial => trial.Blocks == chosen[one.Name]))];
            double total = picked.Sum(trial => trial.Loss);
            Assert.That(counted.Zip(picked, Cost).Sum(), Is.LessThanOrEqualTo(budget));
            Assert.That(total, Is.LessThanOrEqualTo(counted.Sum(one => one.Trials[0].Loss)));

            // A greedy choice on convex hulls misses the best by less than one step.
            double step = counted.Select(one => Finite(one).Max(trial => trial.Loss) - Finite(one).Min(trial => trial.Loss)).DefaultIfEmpty(0).Max();
            Assert.That(total, Is.LessThanOrEqualTo(Best(counted, budget) + step + 1e-9));
        });
    }

    private static LinearTrials Linear(string name, int rows, double[] losses)
    {
        BlockTrial[] trials = [.. Sizes.Zip(losses, (size, loss) => new BlockTrial(new BlockSizes(size, null), loss))];
        return new LinearTrials(name, rows, 8, [trials[1], trials[0], trials[2], trials[3]]);
    }

    private static long Cost(LinearTrials linear, BlockTrial trial) => (long)linear.Rows * trial.Blocks.Output!.Value;

    private static IEnumerable<BlockTrial> Finite(LinearTrials linear) => linear.Trials.Where(trial => double.IsFinite(trial.Loss));

    private static double Best(ReadOnlySpan<LinearTrials> linears, long budget)
    {
        if (linears.IsEmpty)
        {
            return 0;
        }

        double best = double.PositiveInfinity;
        foreach (BlockTrial trial in Finite(linears[0]))
        {
            long cost = Cost(linears[0], trial);
            if (cost <= budget)
            {
                best = Math.Min(best, trial.Loss + Best(linears[1..], budget - cost));
            }
        }

        return best;
    }
}
