using System.Diagnostics;
using Armor.Benchmarks.Scale;
using Armor.Cli.Measuring;
using Armor.Cli.Natives;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using TorchSharp;

namespace Armor.Benchmarks.Models;

/// <summary>
/// A model of the shape of Llama 3.2 1B with random weights: our ARMOR model beside our dense one and TorchSharp's, in one process. A Markdown table,
/// and how far the aims are reached. The weights are made in a temporary folder (6 GB), which is deleted.
/// </summary>
internal static class ModelTable
{
    private const string Armor = "Armor, bfloat16 core";
    private const string ArmorHead = "Armor, bfloat16 core, int8 head";
    private const string ArmorParts = "Armor, bfloat16 core, int8 head and wrappers";
    private const string ArmorInt8 = "Armor, int8 core";
    private const string ArmorInt8Head = "Armor, int8 core, int8 head";
    private const string ArmorInt8Parts = "Armor, int8 core, int8 head and wrappers";
    private const string Dense = "Armor dense bfloat16";
    private const string DenseHead = "Armor dense bfloat16, int8 head";
    private const string TorchSingle = "TorchSharp dense float32";
    private const string TorchBFloat = "TorchSharp dense bfloat16";
    private const int MostNext = 32;

    /// <summary>What rounding the head to 8 bits costs at most, as a share of the mean square of the logits; wrappers, of small values but for the diagonal, cost less.</summary>
    private const double HeadTolerance = 2e-4;

    private static readonly HeldTypes Int8Head = new(TensorElementType.Int8, null);
    private static readonly HeldTypes Int8Parts = new(TensorElementType.Int8, TensorElementType.Int8);

    /// <summary>Prints the tables.</summary>
    /// <param name="arguments"><c>NAME=VALUE</c>: <c>threads</c>, <c>prompt</c> (tokens), <c>seconds</c> (for each kind of rounds), <c>folder</c> (where to make the weights).</param>
    public static int Run(string[] arguments)
    {
        var options = new Dictionary<string, string>
        {
            ["threads"] = $"{Environment.ProcessorCount}", ["prompt"] = "512", ["seconds"] = "20", ["folder"] = Path.GetTempPath(),
        };
        foreach (string[] argument in arguments.Select(argument => argument.Split('=', 2)))
        {
            if (argument.Length != 2 || !options.ContainsKey(argument[0]))
            {
                Console.Error.WriteLine($"model-1b {string.Join(' ', options.Select(option => $"[{option.Key}={option.Value}]"))}");
                return 2;
            }

            options[argument[0]] = argument[1];
        }

        NativeHeap.KeepSmall();
        string folder = Path.Combine(options["folder"], $"armor-model-1b-{Environment.ProcessId}");
        Console.CancelKeyPress += (_, _) => Delete();
        try
        {
            Measure(folder, int.Parse(options["threads"]), int.Parse(options["prompt"]), double.Parse(options["seconds"]));
            return 0;
        }
        finally
        {
            Delete();
        }

        void Delete()
        {
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    private static void Measure(string folder, int threads, int promptTokens, double seconds)
    {
        var clock = Stopwatch.StartNew();
        ModelConfiguration model = RandomModel.Llama1B;
        (string dense, string armor, string int8) = (Path.Combine(folder, "dense"), Path.Combine(folder, "armor"), Path.Combine(folder, "armor-int8"));
        RandomModel.WriteDense(dense, model);
        RandomModel.WriteArmor(dense, armor, isInt8: false);
        RandomModel.WriteArmor(dense, int8, isInt8: true);
        Note("made the weights");
        var memory = new Dictionary<string, ModelMemory>
        {
            [Armor] = ModelMemory.Measure(armor, threads),
            [ArmorHead] = ModelMemory.Measure(armor, threads, Int8Head),
            [ArmorParts] = ModelMemory.Measure(armor, threads, Int8Parts),
            [ArmorInt8] = ModelMemory.Measure(int8, threads),
            [ArmorInt8Head] = ModelMemory.Measure(int8, threads, Int8Head),
            [ArmorInt8Parts] = ModelMemory.Measure(int8, threads, Int8Parts),
        };
        Note("measured the memory of six processes");

        int[] prompt = RandomModel.Tokens(promptTokens, model, seed: 3);
        int[] next = RandomModel.Tokens(MostNext, model, seed: 4);
        using var watch = new MemoryWatch();
        using var probe = new BandwidthProbe(threads);
        List<(string With, ModelRounds Rounds)> groups = [];
        float[] single;
        using (ModelContestant own = Own(Armor, armor))
        using (ModelContestant torch32 = Torch(TorchSingle, torch.ScalarType.Float32))
        {
            Add("TorchSharp float32", own, torch32);
            single = LogitsOf(torch32, prompt);
        }

        NativeHeap.GiveBack();
        using (ModelContestant ownDense = Own(Dense, dense))
        using (ModelContestant torch16 = Torch(TorchBFloat, torch.ScalarType.BFloat16))
        {
            Check(Dense, LogitsOf(ownDense, prompt), single, 1e-8);
            Check(TorchBFloat, LogitsOf(torch16, prompt), single, 1e-2);
            float[] expected;
            using (ModelContestant own = Own(Armor, armor))
            using (ModelContestant ownHead = Own(ArmorHead, armor, Int8Head))
            using (ModelContestant ownParts = Own(ArmorParts, armor, Int8Parts))
            {
                expected = LogitsOf(own, prompt);
                Check(ArmorHead, LogitsOf(ownHead, prompt), expected, HeadTolerance);
                Check(ArmorParts, LogitsOf(ownParts, prompt), expected, HeadTolerance);
                Add("bfloat16 cores", own, ownHead, ownParts, ownDense, torch16);
            }

            using ModelContestant ownInt8 = Own(ArmorInt8, int8);
            using ModelContestant ownInt8Head = Own(ArmorInt8Head, int8, Int8Head);
            using ModelContestant ownInt8Parts = Own(ArmorInt8Parts, int8, Int8Parts);
            using ModelContestant ownDenseHead = Own(DenseHead, dense, Int8Head);
            Check(ArmorInt8, LogitsOf(ownInt8, prompt), expected, 1e-5);
            Check(ArmorInt8Head, LogitsOf(ownInt8Head, prompt), expected, HeadTolerance);
            Check(ArmorInt8Parts, LogitsOf(ownInt8Parts, prompt), expected, HeadTolerance);
            Check(DenseHead, LogitsOf(ownDenseHead, prompt), single, HeadTolerance);
            Add("int8 cores", ownInt8, ownInt8Head, ownInt8Parts, ownDense, ownDenseHead, torch16);
        }

        var report = new ModelReport(groups, memory, promptTokens);
        Console.WriteLine(
            $"The shape of Llama 3.2 1B (hidden {model.HiddenSize}, intermediate {model.IntermediateSize}, {model.LayerCount} layers, {model.AttentionHeadCount} " +
            $"heads and {model.KeyValueHeadCount} of keys and values, vocabulary {model.VocabularySize}, tied), random weights, blocks of 128. {Machine.Describe(threads)}. " +
            $"Memory was read at {probe.Best:f1} GB/s at best.");
        Console.WriteLine();
        report.Rows(Armor, ArmorHead, ArmorParts, ArmorInt8, ArmorInt8Head, ArmorInt8Parts, Dense, DenseHead, TorchSingle, TorchBFloat);
        Console.WriteLine();
        report.Memory();
        Console.WriteLine();
        report.Aims(
            [
                (Armor, Dense, 1.6), (ArmorHead, Dense, 1.6), (ArmorParts, Dense, 1.6), (ArmorInt8, Dense, 1.6), (ArmorInt8Head, Dense, 1.6), (ArmorInt8Parts, Dense, 1.6),
                (ArmorInt8Parts, DenseHead, 1.6), (Armor, TorchSingle, 4), (Armor, TorchBFloat, 4), (ArmorHead, TorchBFloat, 4), (ArmorParts, TorchBFloat, 4),
                (ArmorInt8, TorchBFloat, 4), (ArmorInt8Head, TorchBFloat, 4), (ArmorInt8Parts, TorchBFloat, 4),
            ],
            (Armor, TorchSingle));

        ModelContestant Own(string name, string folder, HeldTypes? types = null) =>
            new ArmorModelContestant(name, folder, threads, promptTokens + MostNext, types ?? HeldTypes.Stored);

        ModelContestant Torch(string name, torch.ScalarType type) => new TorchModelContestant(name, dense, type, threads, promptTokens + MostNext);

        void Add(string with, params ModelContestant[] contestants)
        {
            Note($"loaded {with}");
            groups.Add((with, ModelRounds.Measure(contestants, prompt, next, probe, seconds)));
            Note($"measured {with}; this process took {watch.Peak / 1e9:f1} GB at most");
        }

        void Note(string text) => Console.Error.WriteLine($"{clock.Elapsed.TotalSeconds,6:f0} s  {text}");
    }

    private static float[] LogitsOf(ModelContestant contestant, int[] prompt)
    {
        contestant.Rewind(0);
        contestant.Run(prompt.AsSpan(0, Math.Min(64, prompt.Length)));
        return contestant.Logits();
    }

    /// <summary>Refuses to compare who computes something else.</summary>
    private static void Check(string name, float[] found, float[] expected, double tolerance)
    {
        double error = found.Zip(expected, (one, other) => Math.Pow((double)one - other, 2)).Sum() / expected.Sum(value => (double)value * value);
        Console.Error.WriteLine($"          {name}: a normalised mean square error of {error:g3}");
        if (!(error <= tolerance))
        {
            throw new InvalidOperationException($"{name} computes something else: a normalised mean square error of {error:g3}.");
        }
    }
}
