using Armor.Cuda.Decoding;
using Armor.Cuda.Interop;
using Armor.Cuda.SelfTest;
using Armor.Cuda.Tests.Emulation;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;

namespace Armor.Cuda.Tests.Decoding;

/// <summary>Whole models in the emulator, and what can go wrong with them.</summary>
[TestFixture]
internal class EmulatedDecoderTests : DecoderConformanceTests
{
    private EmulatedDriver driver = null!;
    private CudaBackend backend = null!;

    private protected override CudaBackend Backend => backend;

    [OneTimeSetUp]
    public void NeedsACompiler()
    {
        if (HostCompiler.Missing is { } reason)
        {
            Assert.Ignore(reason);
        }
    }

    [SetUp]
    public void Open() => (driver, backend) = Emulated(1L << 32);

    [TearDown]
    public void NothingIsLeftAndNothingWasWrittenBeyondItsPlace()
    {
        driver.CheckAllGuards();
        backend.Dispose();
        Assert.That((driver.Held, driver.Violations), Is.EqualTo((0, new List<string>())));
        driver.Dispose();
    }

    [Test]
    public void HeadsThatAttentionHasNoRoomForAreRefusedWithTheReason()
    {
        using var folder = new TemporaryFolder();
        var path = RandomModel.Write(folder.File("wide"), RandomModel.All["Llama"] with { HeadSize = 514, LayerCount = 1 });
        Assert.That(() => Load(path), Throws.TypeOf<NotSupportedException>().With.Message.Contains("514").And.Message.Contains(path));
    }

    [TestCase("Mixtral, two experts of five")]
    [TestCase("Qwen3-MoE, one expert of four, raw weights")]
    public void ATokenThroughExpertsIsOneRecording(string family)
    {
        using var decoder = Watched(Dense(family), out var model, TensorElementType.Float16);
        var options = new GenerationOptions { MaxTokens = 6, StopAtEndOfSequence = false };
        int[] found = [.. model.GenerateTokens([3, 4], options)];
        Assert.That((decoder.Recordings, driver.Launches.Contains("armor_choose"), driver.Launches.Contains("armor_select")), Is.EqualTo((1, true, false)));
        Assert.That(model.GenerateTokens([3, 4], options), Is.EqualTo(found));
        Assert.That(decoder.Recordings, Is.EqualTo(1));
        model.Dispose();
    }

    [Test]
    public void ExpertsThatAreUnlikeAreChosenByTheMachine()
    {
        // Of float32, or some factorised and some not.
        using var decoder = Watched(Dense("Mixtral, two experts of five"), out var model);
        var options = new GenerationOptions { MaxTokens = 4, StopAtEndOfSequence = false };
        Assert.That(model.GenerateTokens([3, 4], options).Count(), Is.EqualTo(4));
        Assert.That((decoder.Recordings, driver.Launches.Contains("armor_select")), Is.EqualTo((0, true)));
        model.Dispose();
    }

    [TestCase("Llama", 20, "armor_attention_prompt_128")]
    [TestCase("Llama", 9, "armor_attention_16_8")]
    [TestCase("Llama", 1, "armor_attention_16_4")]
    public void PromptsAreAttendedToOnTensorCores(string family, int prompt, string expected)
    {
        using var model = Load(Dense(family), TensorElementType.Float32, TensorElementType.Float16);
        using var session = model.CreateSession();
        model.ForwardLogits(Tokens(prompt), session, new float[prompt * RandomModel.Vocabulary]);
        Assert.That(driver.Launches.Where(launch => launch.Contains("attention", StringComparison.Ordinal)).Distinct(), Is.EqualTo(new[] { expected }));
    }

    [Test]
    public void AFewRowsTakeTenLaunchesALayer()
    {
        using var decoder = Watched(Dense("Llama"), out var model, TensorElementType.BFloat16);
        using (var session = model.CreateSession())
        {
            model.ForwardLogits([1, 2], session, []);
            var before = driver.Launches.Count;
            model.ForwardLogits([3], session, new float[RandomModel.Vocabulary]);

            // Two for each product and two for heads and attention; the embedding and its norm, and the head's three.
            Assert.That(driver.Launches.Skip(before).ToList(), Has.Count.EqualTo(2 + (2 * 10) + 3).And.Exactly(1).EqualTo("armor_norm").And.None.EqualTo("armor_gate"));
        }

        model.Dispose();
    }

    [Test]
    public void ACardThatIsNotThereIsRefusedWithTheReason()
    {
        using var none = new CudaBackend(driver, new NoCompiler(), new CudaBackendOptions { Device = 5 });
        Assert.That(
            () => ArmorModel.Load(Dense("Llama"), new ArmorModelOptions { Backend = none }),
            Throws.TypeOf<NotSupportedException>().With.Message.Contains("There is no CUDA device 5"));
    }

    [Test]
    public void OneRecordingServesEveryTokenAndEverySequence()
    {
        using var decoder = Watched(Dense("Qwen2, biases, a window in the later layer"), out var model);
        var options = new GenerationOptions { MaxTokens = 70, StopAtEndOfSequence = false }; // beyond the first page
        int[] found = [.. model.GenerateTokens([3, 4], options)];
        Assert.That(decoder.Recordings, Is.EqualTo(1));
        var launches = driver.Launches.Count;
        Assert.That(model.GenerateTokens([3, 4], options), Is.EqualTo(found));
        Assert.That(decoder.Recordings, Is.EqualTo(1));
        Assert.That(driver.Launches, Has.Count.GreaterThan(launches + 70));

        // The same without recordings: all positions at once.
        using var session = model.CreateSession();
        var logits = new float[found.Length * RandomModel.Vocabulary];
        model.ForwardLogits([3, 4, .. found[..^1]], session, logits);
        for (var i = 0; i < found.Length; i++)
        {
            var row = logits.AsSpan(i * RandomModel.Vocabulary, RandomModel.Vocabulary);
            Assert.That(row[found[i]], Is.EqualTo(row.ToArray().Max()).Within(1e-4), $"token {i}");
        }

        model.Dispose();
    }

    [Test]
    public void MemoryThatMovesIsRecordedAnew()
    {
        using var decoder = Watched(Dense("Llama"), out var model);
        var options = new GenerationOptions { MaxTokens = 4, StopAtEndOfSequence = false };
        int[] found = [.. model.GenerateTokens([3, 4], options)];
        using var session = model.CreateSession();
        model.ForwardLogits(Tokens(200), session, []);
        Assert.That(model.GenerateTokens([3, 4], options), Is.EqualTo(found));
        Assert.That(decoder.Recordings, Is.EqualTo(2));
        model.Dispose();
    }

    [Test]
    public void ASequenceGrowsPageByPageAndItsTableWithIt()
    {
        using var model = Load(Dense("Llama"));
        var tokens = Tokens(300);
        using var whole = model.CreateSession(300);
        using var growing = model.CreateSession();
        var (expected, found) = (new float[RandomModel.Vocabulary], new float[RandomModel.Vocabulary]);
        model.ForwardLogits(tokens, whole, expected);
        foreach (var piece in new[] { 60, 10, 58, 130, 41, 1 })
        {
            model.ForwardLogits(tokens.AsSpan(growing.Length, piece), growing, found);
        }

        Assert.That(Distance(found, expected), Is.LessThan(1e-5));
    }

    [Test]
    public void SequencesOfABatchMayGrowAPageAtOnce()
    {
        // Each has its table copied by way of the same memory of the machine.
        using var model = Load(Dense("Llama"));
        using var one = model.CreateSession();
        using var other = model.CreateSession();
        using var alone = model.CreateSession();
        model.ForwardLogits(Tokens(64), one, []);
        model.ForwardLogits(Tokens(70)[6..], other, []);
        model.ForwardLogits(Tokens(64), alone, []);
        var (batch, expected) = (new float[2 * RandomModel.Vocabulary], new float[RandomModel.Vocabulary]);
        model.ForwardBatch([one, other], [5, 6], batch);
        model.ForwardLogits([5], alone, expected);
        Assert.That(batch[..RandomModel.Vocabulary], Is.EqualTo(expected));
    }

    [Test]
    public void ACancelledPassLeavesTheSessionAsItWas()
    {
        using var model = Load(Dense("Llama"));
        using var session = model.CreateSession();
        using var undisturbed = model.CreateSession();
        var (expected, found) = (new float[RandomModel.Vocabulary], new float[RandomModel.Vocabulary]);
        using var stop = new CancellationTokenSource();
        model.ForwardLogits(Tokens(5), session, []);
        var launches = 0;
        driver.Launching = () =>
        {
            if (++launches == 7)
            {
                stop.Cancel();
            }
        };
        Assert.That(() => model.ForwardLogits(Tokens(60), session, found, stop.Token), Throws.InstanceOf<OperationCanceledException>());
        driver.Launching = null;
        Assert.That((session.Length, launches), Is.EqualTo((5, 14)), "the layer is queued to its end, and no other");
        model.ForwardLogits([9, 8, 7], session, found);
        model.ForwardLogits([.. Tokens(5), 9, 8, 7], undisturbed, expected);
        Assert.That(Distance(found, expected), Is.LessThan(1e-5));
        Assert.That(() => model.ForwardLogits([1], session, found, stop.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test]
    public void AFailedLaunchIsToldAndTheModelGoesOn()
    {
        using var model = Load(Dense("Llama"));
        using var session = model.CreateSession();
        driver.Failure = (nameof(ICudaDriver.Launch), 701);
        Assert.That(() => model.ForwardLogits([1], session, []), Throws.TypeOf<CudaException>().With.Property(nameof(CudaException.Status)).EqualTo(701));
        driver.Failure = null;
        Assert.That(() => model.ForwardLogits([1], session, []), Throws.Nothing);
    }

    [Test]
    public void GenerationsOfADisposedModelEndWithAnError()
    {
        var model = Load(Dense("Llama"));
        using var running = new CountdownEvent(2);
        var failures = new Exception?[2];
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(i => new Thread(() => failures[i] = Endless(i)))];
        Array.ForEach(threads, thread => thread.Start());
        running.Wait();
        model.Dispose();
        Array.ForEach(threads, thread => thread.Join());
        Assert.That(failures, Has.All.InstanceOf<ObjectDisposedException>());

        Exception? Endless(int seed)
        {
            try
            {
                for (var round = 0; ; round++)
                {
                    _ = model.GenerateTokens([1, seed], new GenerationOptions { MaxTokens = 5, StopAtEndOfSequence = false }).Count();
                    if (round == 0)
                    {
                        running.Signal();
                    }
                }
            }
            catch (Exception exception)
            {
                return exception;
            }
        }
    }

    [Test]
    public void ASessionMayOutliveItsModelAndBackend()
    {
        var model = Load(Dense("Llama"));
        var session = model.CreateSession(100);
        model.Dispose();
        Assert.That(() => model.ForwardLogits([1], session, []), Throws.TypeOf<ObjectDisposedException>());
        backend.Dispose();
        Assert.That(session.Dispose, Throws.Nothing);
        driver.Dispose(); // what a real driver gives back with the context
    }

    [Test]
    public void ADisposedSessionIsRefused()
    {
        using var model = Load(Dense("Llama"));
        var session = model.CreateSession(1);
        var held = driver.Held;
        session.Dispose();
        session.Dispose();
        Assert.That(driver.Held, Is.LessThan(held));
        Assert.That(() => model.ForwardLogits([1], session, []), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void TooLittleMemoryForKeysAndValuesIsANamedErrorAndTheModelGoesOn()
    {
        // A page of the cache takes 32 KiB here.
        var (small, own) = Emulated(1300 << 10);
        using (var model = ArmorModel.Load(Dense("Llama"), new ArmorModelOptions { Backend = own }))
        {
            Assert.That(
                () => model.GenerateTokens([1], new GenerationOptions { MaxTokens = 300 }), Throws.Nothing, "nothing was computed yet, and it may stop early");
            var sessions = new List<GenerationSession>();
            Assert.That(
                () =>
                {
                    while (true)
                    {
                        sessions.Add(model.CreateSession(200));
                    }
                },
                Throws.TypeOf<InsufficientMemoryException>().With.Message.Contains("positions take").And.Message.Contains("CacheType Float16"));
            Assert.That(sessions, Is.Not.Empty);
            sessions.ForEach(session => session.Dispose());
            using var again = model.CreateSession(200);
            Assert.That(() => model.ForwardLogits([1], again, []), Throws.Nothing);
        }

        own.Dispose();
        Assert.That((small.Held, small.Violations), Is.EqualTo((0, new List<string>())));
        small.Dispose();
    }

    [Test]
    public void SequencesThatCannotFitTheCardAreRefusedBeforeAnythingIsComputed()
    {
        var (small, own) = Emulated(1 << 20);
        using (own)
        using (var model = ArmorModel.Load(Dense("Llama"), new ArmorModelOptions { Backend = own }))
        {
            Assert.That(
                () => model.GenerateTokenBatch([.. Enumerable.Range(0, 12).Select(_ => new[] { 1 })], new GenerationOptions { MaxTokens = 300 }),
                Throws.TypeOf<InsufficientMemoryException>().With.Message.Contains("Emulated card"));
        }

        small.Dispose();
    }

    [Test]
    public void ALogitThatIsNoNumberEndsTheGeneration()
    {
        // Hidden states beyond 65504 overflow where the head's inputs are float16.
        using var folder = new TemporaryFolder();
        var path = RandomModel.Write(folder.File("large"), RandomModel.All["Llama"], normScale: 1e6f);
        using var model = ArmorModel.Load(path, new ArmorModelOptions { Backend = backend, WeightType = TensorElementType.Float16 });
        Assert.That(
            () => model.GenerateTokens([1], new GenerationOptions { MaxTokens = 2 }).Count(),
            Throws.TypeOf<ArithmeticException>().With.Message.Contains("not a finite number"));
    }

    private static (EmulatedDriver Driver, CudaBackend Backend) Emulated(long memoryBytes)
    {
        var driver = new EmulatedDriver(memoryBytes: memoryBytes);
        return (driver, new CudaBackend(driver, new HostCompiler(), new CudaBackendOptions { KernelCacheFolder = null }));
    }

    /// <summary>A model, and its decoder to look into.</summary>
    private CudaDecoder Watched(string path, out ArmorModel model, TensorElementType type = TensorElementType.Float32)
    {
        CudaDecoder? decoder = null;
        backend.DecoderCreated = made => decoder = made;
        model = Load(path, type);
        backend.DecoderCreated = null;
        return decoder!;
    }
}
