using Armor.Runtime.Generation;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Core.Tests.Generation;

/// <summary>Several models and threads at once, and models that are disposed of meanwhile.</summary>
public sealed class ConcurrencyTests
{
    private TemporaryFolder folder = null!;
    private string first = null!;
    private string second = null!;

    [SetUp]
    public void WriteModels()
    {
        folder = new TemporaryFolder();
        first = FamilyModels.WriteDense(folder.File("first"), FamilyModels.All["Llama 3"]);
        second = FamilyModels.WritePruned(FamilyModels.WriteDense(folder.File("dense"), FamilyModels.All["Qwen3"]), folder.File("second"));
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public void TwoModelsAndManyThreadsShareOneBackend()
    {
        using var backend = new CpuBackend(new CpuBackendOptions { Threads = 3 });
        var options = new ArmorModelOptions { Backend = backend };
        using ArmorModel one = ArmorModel.Load(first, options);
        using ArmorModel two = ArmorModel.Load(second, options);
        ArmorModel[] models = [one, two];
        int[][] alone = [.. Enumerable.Range(0, 8).Select(i => Generate(models[i % 2], i))];
        var together = new int[8][];
        Thread[] threads = [.. Enumerable.Range(0, 8).Select(i => new Thread(() => together[i] = Generate(models[i % 2], i)))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.That(together, Is.EqualTo(alone), "to the last token: nothing depends on the number of threads that were free");
    }

    [Test]
    public void ThreadsChangeNoBitOfTheLogits()
    {
        float[][] logits = [.. new[] { 1, 2, 5 }.Select(threads =>
        {
            using var backend = new CpuBackend(new CpuBackendOptions { Threads = threads });
            using ArmorModel model = ArmorModel.Load(second, new ArmorModelOptions { Backend = backend });
            var found = new float[150 * model.Configuration.VocabularySize];
            model.ForwardLogits([.. Enumerable.Range(0, 150).Select(i => i * 31 % 67)], model.CreateSession(), found);
            return found;
        })];
        Assert.That(logits[1].AsSpan().SequenceEqual(logits[0]));
        Assert.That(logits[2].AsSpan().SequenceEqual(logits[0]));
    }

    [Test]
    public void GenerationsOfADisposedModelEndWithAnError([Values] bool isBatch)
    {
        ArmorModel model = ArmorModel.Load(first);
        using var running = new CountdownEvent(3);
        var failures = new Exception?[3];
        Thread[] threads = [.. Enumerable.Range(0, 3).Select(i => new Thread(() => failures[i] = Endless(i)))];
        Array.ForEach(threads, thread => thread.Start());
        running.Wait();
        model.Dispose();
        Array.ForEach(threads, thread => thread.Join());
        Assert.That(failures, Has.All.InstanceOf<ObjectDisposedException>());

        Exception? Endless(int seed)
        {
            bool signalled = false;
            try
            {
                while (true)
                {
                    if (isBatch)
                    {
                        model.GenerateTokenBatch([[1], [2 + seed]], new GenerationOptions { MaxTokens = 20, StopAtEndOfSequence = false });
                    }
                    else
                    {
                        Generate(model, seed);
                    }

                    if (!signalled)
                    {
                        running.Signal();
                        signalled = true;
                    }
                }
            }
            catch (Exception exception)
            {
                return exception;
            }
        }
    }

    private static int[] Generate(ArmorModel model, int seed) =>
        [.. model.GenerateTokens([1, 5], new GenerationOptions { Temperature = 1.5, Seed = seed, MaxTokens = 60, StopAtEndOfSequence = false })];
}
