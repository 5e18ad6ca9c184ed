using Armor.Core.Calibration;
using Armor.Core.Pruning;
using Armor.Core.Pruning.Losses;
using Armor.Core.Pruning.SparseCores;
using Armor.Core.Pruning.Wrappers;
using CsCheck;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.PublicApi.Tests;

/// <summary>Outside code without internals: own losses, wrapper optimisers and core selectors go together with each other and with the library's.</summary>
public class OwnPartsTests
{
    private static readonly (string Name, Func<ActivationStatistics, IProxyLoss>? Make)[] Losses =
    [
        ("library", null),
        ("separable", statistics => new RankOneLoss(statistics, 0)),
        ("coupled", statistics => new RankOneLoss(statistics, 0.5)),
    ];

    private static readonly (string Name, Func<IWrapperOptimizer>? Make)[] Wrappers =
    [
        ("library", null),
        ("line search", () => new LineSearchWrappers()),
        ("vandal", () => new Vandal()),
    ];

    private static readonly (string Name, Func<ISparseCoreSelector>? Make)[] Selectors =
    [
        ("library", null),
        ("projected gradient", () => new ProjectedGradientSelector(1)),
        ("projected gradient, too far", () => new ProjectedGradientSelector(100)),
        ("vandal", () => new Vandal()),
    ];

    private static readonly ArmorPrunerOptions Options = ArmorPrunerOptions.Balanced with
    {
        BlockSize = 4,
        Stages = [new PruningStage { Loss = StageLoss.Diagonal, AnnealingCycles = 2, PolishCycles = 3 }],
    };

    [Test]
    public void EveryCombinationEndsAtOrBelowItsStart()
    {
        var cases = from loss in Gen.Int[0, Losses.Length - 1].Select(index => Losses[index])
                    from wrappers in Gen.Int[0, Wrappers.Length - 1].Select(index => Wrappers[index])
                    from selector in Gen.Int[0, Selectors.Length - 1].Select(index => Selectors[index])
                    from rows in Gen.Int[1, 4]
                    from columns in Gen.Int[1, 4]
                    from seed in Gen.Int[0, 100_000]
                    select (loss, wrappers, selector, rows: rows * 4, columns: columns * 4, seed);
        cases.Sample(
            c =>
            {
                using var scope = NewDisposeScope();
                (Tensor weight, ActivationStatistics statistics) = Problem(c.rows, c.columns, c.seed);
                using (statistics)
                {
                    PrunedWeight pruned = Prune(weight, statistics, c.loss.Make, c.wrappers.Make, c.selector.Make);
                    Assert.That(pruned.Loss, Is.LessThanOrEqualTo(pruned.StartLoss * (1 + 1e-6)));
                    if (c.loss.Make is not null)
                    {
                        // The reported loss is that of the returned factors, as anyone can check.
                        using var loss = (RankOneLoss)c.loss.Make(statistics);
                        Tensor product = tensor(pruned.Layer.ToDense(), [c.rows, c.columns]);
                        Assert.That(loss.Value(weight - product) / loss.Value(weight), Is.EqualTo(pruned.Loss).Within(1e-4 + (1e-3 * pruned.Loss)));
                    }
                }
            },
            iter: 150,
            print: c => $"{c.loss.Name} loss, {c.wrappers.Name} wrappers, {c.selector.Name} selector, {c.rows}×{c.columns}, seed {c.seed}");
    }

    [Test]
    public void OwnPartsDoTheWork([Values(0.0, 0.5)] double strength)
    {
        using var scope = NewDisposeScope();
        (Tensor weight, ActivationStatistics statistics) = Problem(16, 32, 1);
        using (statistics)
        {
            IProxyLoss Loss(ActivationStatistics s) => new RankOneLoss(s, strength);
            PrunedWeight wrappers = Prune(weight, statistics, Loss, () => new LineSearchWrappers(), () => new Idle());
            PrunedWeight core = Prune(weight, statistics, Loss, () => new Idle(), () => new ProjectedGradientSelector(0.5));
            PrunedWeight idle = Prune(weight, statistics, Loss, () => new Idle(), () => new Idle());
            Assert.That(idle.Loss, Is.EqualTo(idle.StartLoss).Within(1e-9));
            Assert.That(wrappers.Loss, Is.LessThan(0.99 * wrappers.StartLoss), "own wrappers");
            if (strength > 0)
            {
                // Without coupling and wrappers the start leaves a core nothing to gain.
                Assert.That(core.Loss, Is.LessThan(0.99 * core.StartLoss), "own core");
            }
        }
    }

    [Test]
    public void PartsThatAreDisposableAreDisposed()
    {
        using var scope = NewDisposeScope();
        (Tensor weight, ActivationStatistics statistics) = Problem(8, 8, 2);
        using (statistics)
        {
            var made = new List<Vandal>();
            Vandal Make()
            {
                made.Add(new Vandal());
                return made[^1];
            }

            Prune(weight, statistics, null, Make, Make);
            Assert.That(made, Has.Count.EqualTo(2 * Options.Stages.Count));
            Assert.That(made.Select(part => part.IsDisposed), Is.All.True);
        }
    }

    [Test]
    public void OneLineForOneWeight()
    {
        using var scope = NewDisposeScope();
        Tensor weight = randn(16, 32, generator: new Generator(3));
        using ActivationStatistics statistics = ActivationStatistics.FromInputs(randn(500, 32, generator: new Generator(4)));
        PrunedWeight pruned = ArmorPruner.Create(ArmorPrunerOptions.Balanced).Prune(weight, statistics);
        Assert.That(pruned.Loss, Is.LessThan(pruned.StartLoss));
        Assert.That((pruned.Layer.Rows, pruned.Layer.Columns), Is.EqualTo((16, 32)));
    }

    private static PrunedWeight Prune(
        Tensor weight,
        ActivationStatistics statistics,
        Func<ActivationStatistics, IProxyLoss>? loss,
        Func<IWrapperOptimizer>? wrappers,
        Func<ISparseCoreSelector>? selector) =>
        ArmorPruner.Create(Options, new ArmorPrunerParts { Loss = loss, WrapperOptimizer = wrappers, CoreSelector = selector }).Prune(weight, statistics);

    private static (Tensor Weight, ActivationStatistics Statistics) Problem(int rows, int columns, int seed)
    {
        var generator = new Generator((ulong)seed);
        Tensor scales = randn(columns, generator: generator).exp();
        return (randn(rows, columns, generator: generator), ActivationStatistics.FromInputs(randn(64, columns, generator: generator) * scales));
    }

    /// <summary>Leaves everything as it is.</summary>
    private sealed class Idle : IWrapperOptimizer, ISparseCoreSelector
    {
        public void Step(ArmorFactorization factorization, StepContext context)
        {
        }
    }

    /// <summary>Ruins whatever it gets.</summary>
    private sealed class Vandal : IWrapperOptimizer, ISparseCoreSelector, IDisposable
    {
        public bool IsDisposed { get; private set; }

        public void Step(ArmorFactorization factorization, StepContext context)
        {
            using var scope = NewDisposeScope();
            factorization.Core = factorization.Core * (context.Step % 2 == 0 ? float.NaN : -1000);
        }

        public void Dispose() => IsDisposed = true;
    }
}
