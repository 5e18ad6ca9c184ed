using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Cuda.Tests.Emulation;
using Armor.KernelConformance;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Kernels;

namespace Armor.Cuda.Tests;

/// <summary>Experts that the card chooses, and products by those that it has chosen.</summary>
internal class ExpertKernelTests
{
    [TestCase(1, 8, 2, true)]
    [TestCase(1, 128, 8, true)]
    [TestCase(16, 60, 4, false)]
    [TestCase(33, 256, 8, true)]
    [TestCase(512, 5, 2, true)]
    [TestCase(7, 3, 3, false)]
    public void RowsGoThroughTheLikeliest(int rows, int experts, int perToken, bool isNormalised)
    {
        using var card = new Card();
        var random = new Random(rows + experts);
        float[] scores = [.. Generators.Values(random, rows * experts).Select(value => MathF.Round(value * 16))]; // with many equals
        var shares = card.Choose(scores, rows, experts, perToken, isNormalised);
        var slots = shares.Read<ExpertRow>(shares.Use.Slots, rows * perToken);
        var places = shares.Read<ExpertRow>(shares.Places, rows * perToken);
        var active = shares.Read<ExpertShare>(shares.Use.Active, shares.Use.ActiveCount);
        var eights = shares.Read<ExpertShare>(shares.Use.Eights, shares.Use.EightCount);
        var expected = Enumerable.Range(0, rows).Select(row => Likeliest(scores.AsSpan(row * experts, experts), perToken, isNormalised)).ToArray();
        var byExpert = Enumerable.Range(0, experts).Select(expert => Enumerable.Range(0, rows).Where(row => expected[row].ContainsKey(expert)).ToArray()).ToArray();
        var used = active.TakeWhile(share => share.Count > 0).ToArray();
        Assert.That(used.Select(share => share.Expert), Is.EqualTo(Enumerable.Range(0, experts).Where(expert => byExpert[expert].Length > 0)));
        Assert.That(active.Skip(used.Length).Select(share => share.Count), Has.All.Zero);
        var (slot, eight) = (0, 0);
        foreach (var share in used)
        {
            var own = byExpert[share.Expert];
            Assert.That((share.FirstSlot, share.Count, share.FirstEight), Is.EqualTo((slot, own.Length, eight)));
            for (var i = 0; i < own.Length; i++, slot++)
            {
                Assert.That(slots[slot].Row, Is.EqualTo(own[i]));
                Assert.That(slots[slot].Weight, Is.EqualTo(expected[own[i]][share.Expert]).Within(1e-5));
                Assert.That(places.AsSpan(own[i] * perToken, perToken).ToArray(), Has.Exactly(1).Matches<ExpertRow>(place => place.Row == slot && place.Weight == slots[slot].Weight));
            }

            for (var first = 0; first < own.Length; first += 8, eight++)
            {
                Assert.That(
                    (eights[eight].Expert, eights[eight].FirstSlot, eights[eight].Count), Is.EqualTo((share.Expert, share.FirstSlot + first, Math.Min(8, own.Length - first))));
            }
        }

        Assert.That(eights.Skip(eight).Select(share => share.Count), Has.All.Zero);
    }

    [Test]
    public void ScoresThatAreNoNumbersStayInTheirRow()
    {
        using var card = new Card();
        var shares = card.Choose([1, 2, 3, float.NaN, 0, 0, float.PositiveInfinity, 1, float.PositiveInfinity, 3, 2, 1], 4, 3, 2, true);
        var places = shares.Read<ExpertRow>(shares.Places, 8);
        Assert.That(places.Select(place => float.IsNaN(place.Weight)), Is.EqualTo(new[] { false, false, true, true, true, true, false, false }));
        Assert.That(places.Select(place => place.Row), Has.All.InRange(0, 7));
    }

    [Test]
    public void EachExpertMultipliesItsOwnRows([Values("dense", "blocks", "core", "int8")] string form, [Values(1, 5, 16, 17, 70)] int rows)
    {
        const int Experts = 6, PerToken = 2, Columns = 320;
        using var card = new Card();
        var random = new Random(rows);
        var shares = card.Choose(Generators.Values(random, rows * Experts), rows, Experts, PerToken, true);
        var slots = shares.Read<ExpertRow>(shares.Use.Slots, rows * PerToken);
        var experts = shares.Read<ExpertShare>(shares.Use.Active, shares.Use.ActiveCount).SelectMany(share => Enumerable.Repeat(share.Expert, share.Count)).ToArray();
        var weights = Enumerable.Range(0, Experts).Select(expert => new[] { card.Make(form, 160, Columns, expert), card.Make(form, 48, Columns, 100 + expert) }).ToArray();
        DeviceProduct[][] products = [.. weights.Select(parts => Array.ConvertAll(parts, part => ((CudaWeight)part).Product))];
        Assert.That(ExpertProducts.AreAlike(products));

        // Inputs of rows, then of slots.
        foreach (var isOfSlots in new[] { false, true })
        {
            var inputs = isOfSlots ? slots.Length : rows;
            var input = Generators.Values(random, inputs * Columns);
            var found = card.Multiply(products, PerToken, input, rows, isOfSlots ? shares.Use with { Slots = 0 } : shares.Use, slots.Length);
            for (var slot = 0; slot < slots.Length; slot++)
            {
                for (var part = 0; part < 2; part++)
                {
                    var weight = weights[experts[slot]][part];
                    var expected = new float[weight.Rows];
                    weight.Multiply(input.AsSpan((isOfSlots ? slot : slots[slot].Row) * Columns, Columns), 1, expected);

                    // Sums run in another order, and are rounded before A.
                    Assert.That(Distance(found[part].AsSpan(slot * weight.Rows, weight.Rows), expected), Is.LessThan(1e-3), $"slot {slot}, part {part}");
                }
            }
        }

        Array.ForEach(weights, parts => Array.ForEach(parts, part => part.Dispose()));
    }

    [Test]
    public void ExpertsOfDifferentKindsAreUnlike()
    {
        using var card = new Card();
        using var one = card.Make("blocks", 160, 320, 1);
        using var dense = card.Make("dense", 160, 320, 2);
        using var shorter = card.Make("blocks", 48, 320, 3);
        DeviceProduct[] Of(KernelWeight weight) => [((CudaWeight)weight).Product];
        Assert.That(ExpertProducts.AreAlike([Of(one), Of(one)]), Is.True);
        Assert.That(ExpertProducts.AreAlike([Of(one), Of(dense)]), Is.False);
        Assert.That(ExpertProducts.AreAlike([Of(one), Of(shorter)]), Is.False);
    }

    private static double Distance(ReadOnlySpan<float> found, ReadOnlySpan<float> expected)
    {
        double square = 0, norm = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            square += Math.Pow((double)found[i] - expected[i], 2);
            norm += Math.Pow(expected[i], 2);
        }

        return Math.Sqrt(square / norm);
    }

    private static Dictionary<int, double> Likeliest(ReadOnlySpan<float> scores, int perToken, bool isNormalised)
    {
        var own = scores.ToArray();
        var highest = own.Max();
        var weights = own.Select(score => Math.Exp((double)score - highest)).ToArray();
        var taken = Enumerable.Range(0, own.Length).OrderByDescending(expert => own[expert]).ThenBy(expert => expert).Take(perToken).ToArray();
        var sum = isNormalised ? taken.Sum(expert => weights[expert]) : weights.Sum();
        return taken.ToDictionary(expert => expert, expert => weights[expert] / sum);
    }

    /// <summary>What the card has chosen.</summary>
    private sealed record Shares(Card Card, ExpertUse Use, nint Places)
    {
        public T[] Read<T>(nint address, int count)
            where T : unmanaged
            => Card.Read<T>(address, count);
    }

    /// <summary>An emulated card.</summary>
    private sealed class Card : IDisposable
    {
        private readonly EmulatedDriver _driver;
        private readonly CudaBackend _backend;
        private readonly DeviceRun _run;
        private readonly List<DeviceMemory> _owned = [];

        public Card()
        {
            if (HostCompiler.Missing is { } reason)
            {
                Assert.Ignore(reason);
            }

            _driver = new EmulatedDriver();
            _backend = new CudaBackend(_driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null });
            _run = _backend.Enter(); // nobody else is here
            _backend.Leave();
        }

        public KernelWeight Make(string form, int rows, int columns, int seed)
        {
            if (form == "dense")
            {
                return _backend.PrepareDense(DenseWeightSource.FromMemory(Generators.Values(new Random(seed), rows * columns), rows, columns), TensorElementType.Float16);
            }

            var layer = form == "core" ? Generators.RandomLayer(rows, columns, null, null, seed) : Generators.RandomLayer(rows, columns, 16, 64, seed);
            return _backend.PrepareLayer(form == "int8" ? layer.RoundedTo(TensorElementType.Float16, TensorElementType.Int8) : layer, TensorElementType.Float16);
        }

        public Shares Choose(float[] scores, int rows, int experts, int perToken, bool isNormalised) => Use(run =>
        {
            var (slots, active) = (rows * perToken, Math.Min(experts, rows * perToken));
            var eights = (slots / 8) + active;
            var use = new ExpertUse(0, 0, Allocate(run, active * 16), active, Allocate(run, eights * 16), eights, Allocate(run, slots * 8));
            var places = Allocate(run, slots * 8);
            run.Launch(KernelNames.Choose, 1, 1, 1, 256, new ChooseArguments
            {
                Scores = Copy(run, scores), Chosen = Allocate(run, slots * 8), Places = places, Slots = use.Slots, Active = use.Active, Eights = use.Eights,
                Rows = rows, Experts = experts, PerToken = perToken, MostActive = active, MostEights = eights, IsNormalised = isNormalised ? 1 : 0,
            });
            return new Shares(this, use, places);
        });

        public float[][] Multiply(DeviceProduct[][] products, int perToken, float[] input, int rows, ExpertUse shares, int slots) => Use(run =>
        {
            using var experts = new ExpertProducts(run, [.. products.Select(parts => Array.ConvertAll(parts, part => (FragmentProduct)part))], perToken);
            nint[] outputs = [.. products[0].Select(part => Allocate(run, slots * part.Rows * sizeof(float)))];
            experts.Multiply(run, new ProductInput(Copy(run, input)), rows, shares, outputs);
            return outputs.Select((output, part) => Read<float>(output, slots * products[0][part].Rows)).ToArray();
        });

        /// <summary>The emulated card's memory is this machine's.</summary>
        public unsafe T[] Read<T>(nint address, int count)
            where T : unmanaged
        {
            _run.Stream.Synchronize();
            return new ReadOnlySpan<T>((void*)address, count).ToArray();
        }

        public void Dispose()
        {
            _driver.CheckAllGuards();
            _owned.ForEach(memory => memory.Dispose());
            _backend.Dispose();
            Assert.That((_driver.Held, _driver.Violations), Is.EqualTo((0, new List<string>())));
            _driver.Dispose();
        }

        private T Use<T>(Func<DeviceRun, T> work)
        {
            var run = _backend.Enter();
            try
            {
                return work(run);
            }
            finally
            {
                _backend.Leave();
            }
        }

        private nint Allocate(DeviceRun run, int bytes)
        {
            _owned.Add(run.Device.Allocate(bytes));
            return _owned[^1].Address;
        }

        private unsafe nint Copy(DeviceRun run, float[] values)
        {
            var address = Allocate(run, values.Length * sizeof(float));
            values.CopyTo(new Span<float>((void*)address, values.Length));
            return address;
        }
    }
}
