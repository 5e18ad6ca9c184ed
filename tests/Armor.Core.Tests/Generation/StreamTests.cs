using System.Text;
using Armor.Runtime.Generation;

namespace Armor.Core.Tests.Generation;

/// <summary>Streams of updates: off the caller's thread, and in sessions.</summary>
public sealed class StreamTests
{
    // Logits of the reciter differ by 64: so hot, any token may come.
    private static readonly GenerationOptions Hot = new() { Temperature = 30, MaxTokens = 20 };

    private TemporaryFolder folder = null!;
    private ArmorModel reciter = null!;

    [OneTimeSetUp]
    public void LoadModel()
    {
        folder = new TemporaryFolder();
        reciter = ArmorModel.Load(RecitingModel.WriteChain(folder.File("reciter"), Encoding.UTF8.GetBytes("aé€😀"), context: 24));
    }

    [OneTimeTearDown]
    public void DeleteFolder()
    {
        reciter.Dispose();
        folder.Dispose();
    }

    [Test]
    public async Task AsynchronousStreamsAreTheSame()
    {
        GenerationOptions options = Hot with { Seed = 4 };
        Assert.That(await reciter.GenerateAsync("aé", options).ToArrayAsync(), Is.EqualTo(reciter.Generate("aé", options)));
        Assert.That(await reciter.GenerateTokensAsync([97], options).ToArrayAsync(), Is.EqualTo(reciter.GenerateTokens([97], options)));
        Assert.That(await reciter.StreamAsync([97], options).ToArrayAsync(), Is.EqualTo(reciter.Stream([97], options)));
        IAsyncEnumerable<string> repeatable = reciter.GenerateAsync("x", options);
        Assert.That(await repeatable.ToArrayAsync(), Is.EqualTo(await repeatable.ToArrayAsync()));
    }

    [Test]
    public async Task AnAsynchronousGenerationRunsElsewhereAndWaitsForItsReader()
    {
        int caller = Environment.CurrentManagedThreadId;
        string path = TinyLlama.Write(folder.File("waits"));
        var backend = new Counting();
        using ArmorModel model = ArmorModel.Load(path, new ArmorModelOptions { Backend = backend });
        GenerationSession session = model.CreateSession();
        GenerationOptions options = GenerationOptions.Greedy with { MaxTokens = 23, StopAtEndOfSequence = false };
        int count = 0;
        await foreach (GenerationUpdate update in model.StreamAsync([1], options, session))
        {
            if (count++ == 0)
            {
                // 16 may lie ready beside the one that was read and the one that waits to be written.
                Assert.That(() => session.Length, Is.EqualTo(18).After(5000, 5));
                await Task.Delay(50);
                Assert.That(session.Length, Is.EqualTo(18));
            }
        }

        Assert.That(count, Is.EqualTo(23));
        Assert.That(backend.Threads, Does.Not.Contain(caller));
    }

    [Test]
    public async Task LeavingOrCancellingAnAsynchronousLoopEndsTheComputation([Values] bool cancelled)
    {
        string path = TinyLlama.Write(folder.File("left"));
        using ArmorModel model = ArmorModel.Load(path);
        GenerationSession session = model.CreateSession();
        using var source = new CancellationTokenSource();
        GenerationOptions options = GenerationOptions.Greedy with { MaxTokens = 23, StopAtEndOfSequence = false };
        bool ended = false;
        try
        {
            await foreach (GenerationUpdate update in model.StreamAsync([1], options, session).WithCancellation(source.Token))
            {
                if (!cancelled)
                {
                    break;
                }

                await source.CancelAsync();
            }
        }
        catch (OperationCanceledException)
        {
            ended = true;
        }

        Assert.That(ended, Is.EqualTo(cancelled));
        int length = session.Length;
        await Task.Delay(30);
        Assert.That(session.Length, Is.EqualTo(length));
        Assert.That(() => session.Rewind(0), Throws.Nothing, "free again");
    }

    [Test]
    public void AsynchronousMistakesAreRefusedAtOnceAndLaterOnesComeOutAtTheReader()
    {
        Assert.That(() => reciter.GenerateAsync(new string('x', 24)), Throws.ArgumentException.With.Message.Contains("25 tokens"));
        Assert.That(() => reciter.GenerateTokensAsync([]), Throws.ArgumentException.With.Message.Contains("no tokens"));
        ArmorModel model = ArmorModel.Load(folder.File("reciter"));
        IAsyncEnumerable<string> pieces = model.GenerateAsync("a");
        model.Dispose();
        Assert.That(async () => await pieces.ToArrayAsync(), Throws.InstanceOf<ObjectDisposedException>());
    }

    [Test]
    public void ASessionKeepsWhatThePromptsHaveInCommon()
    {
        string path = TinyLlama.Write(folder.File("session"));
        var backend = new Counting();
        using ArmorModel model = ArmorModel.Load(path, new ArmorModelOptions { Backend = backend });
        GenerationOptions options = GenerationOptions.Greedy with { MaxTokens = 3, StopAtEndOfSequence = false };
        GenerationSession session = model.CreateSession();
        int[] first = [1, 5, 9, 7];
        int[] answer = [.. Tokens(model.Stream(first, options, session))];
        Assert.That(session.Length, Is.EqualTo(6));
        int[] second = [.. first, .. answer, 8, 4];
        int[] fresh = [.. model.GenerateTokens(second, options)];

        backend.Rows.Clear();
        Assert.That(Tokens(model.Stream(second, options, session)), Is.EqualTo(fresh));
        Assert.That(backend.Rows.Max(), Is.EqualTo(3), "the answer's last token and the two new ones");

        Assert.That(Tokens(model.Stream(first, options, session)), Is.EqualTo(answer), "a prompt that is there already is computed from its last token");

        static IEnumerable<int> Tokens(IEnumerable<GenerationUpdate> updates) => updates.Select(update => update.Token!.Value);
    }

    [Test]
    public void ASessionUsedElsewhereMeanwhileIsNoticed()
    {
        GenerationSession session = reciter.CreateSession();
        using IEnumerator<GenerationUpdate> updates = reciter.Stream([97], session: session).GetEnumerator();
        Assert.That(updates.MoveNext(), Is.True);
        session.Rewind(0);
        Assert.That(() => updates.MoveNext(), Throws.InvalidOperationException.With.Message.Contains("elsewhere"));
        using ArmorModel other = ArmorModel.Load(folder.File("reciter"));
        Assert.That(() => other.Stream([97], session: session), Throws.ArgumentException.With.Message.Contains("another model"));
    }

    [Test]
    public void OneSessionIsForOneThreadAtATime()
    {
        string path = TinyLlama.Write(folder.File("one thread"));
        using var entered = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        using ArmorModel model = ArmorModel.Load(path, new ArmorModelOptions { Backend = new Blocking(entered, leave) });
        GenerationSession session = model.CreateSession();
        var thread = new Thread(() => model.ForwardLogits([1, 2], session, []));
        thread.Start();
        entered.Wait();
        Assert.That(() => model.ForwardLogits([3], session, []), Throws.InvalidOperationException.With.Message.Contains("another thread"));
        Assert.That(() => session.Rewind(0), Throws.InvalidOperationException);
        leave.Set();
        thread.Join();
        Assert.That(session.Length, Is.EqualTo(2));
        Assert.That(() => model.ForwardLogits([3], session, []), Throws.Nothing);
    }

    /// <summary>Notes which threads multiply, and how many rows.</summary>
    private sealed class Counting : DenseOnlyBackend
    {
        public System.Collections.Concurrent.ConcurrentBag<int> Threads { get; } = [];

        public System.Collections.Concurrent.ConcurrentBag<int> Rows { get; } = [];

        protected override void Multiplying(int rows)
        {
            Threads.Add(Environment.CurrentManagedThreadId);
            Rows.Add(rows);
        }
    }

    /// <summary>Waits in every product.</summary>
    private sealed class Blocking(ManualResetEventSlim entered, ManualResetEventSlim leave) : DenseOnlyBackend
    {
        protected override void Multiplying(int rows)
        {
            entered.Set();
            leave.Wait();
        }
    }
}
