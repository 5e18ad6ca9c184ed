using System.Diagnostics;
using Armor.Benchmarks.Scale;
using Armor.Cli.Measuring;
using Armor.Cli.Natives;
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
    private const string ArmorInt8 = "Armor, int8 core";
    private const string Dense = "Armor dense bfloat16";
    private const string TorchSingle = "TorchSharp dense float32";
    private const string TorchBFloat = "TorchSharp dense bfloat16";
    private const int MostNext = 32;

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
        ModelMemory memory = ModelMemory.Measure(armor, threads);
        ModelMemory memoryInt8 = ModelMemory.Measure(int8, threads);
        Note("measured the memory of two processes");

        int[] prompt = RandomModel.Tokens(promptTokens, model, seed: 3);
        int[] next = RandomModel.Tokens(MostNext, model, seed: 4);
        int capacity = promptTokens + MostNext;
        using var watch = new MemoryWatch();
        using var probe = new BandwidthProbe(threads);
        using var own = new ArmorModelContestant(Armor, armor, threads, capacity);
        float[] single;
        ModelRounds first;
        using (var torch32 = new TorchModelContestant(TorchSingle, dense, torch.ScalarType.Float32, threads, capacity))
        {
            Note("loaded TorchSharp float32");
            first = ModelRounds.Measure([own, torch32], prompt, next, probe, seconds);
            single = LogitsOf(torch32, prompt);
        }

        Note("measured against TorchSharp float32");
        NativeHeap.GiveBack();
        using var ownInt8 = new ArmorModelContestant(ArmorInt8, int8, threads, capacity);
        using var ownDense = new ArmorModelContestant(Dense, dense, threads, capacity);
        using var torch16 = new TorchModelContestant(TorchBFloat, dense, torch.ScalarType.BFloat16, threads, capacity);
        Note("loaded the others");
        Check(Dense, LogitsOf(ownDense, prompt), single, 1e-8);
        Check(TorchBFloat, LogitsOf(torch16, prompt), single, 1e-2);
        Check(ArmorInt8, LogitsOf(ownInt8, prompt), LogitsOf(own, prompt), 1e-5);
        ModelRounds second = ModelRounds.Measure([own, ownInt8, ownDense, torch16], prompt, next, probe, seconds);
        Note($"measured the others; this process took {watch.Peak / 1e9:f1} GB at most");

        var report = new ModelReport(first, second, memory, memoryInt8, promptTokens);
        Console.WriteLine(
            $"The shape of Llama 3.2 1B (hidden {model.HiddenSize}, intermediate {model.IntermediateSize}, {model.LayerCount} layers, {model.AttentionHeadCount} " +
            $"heads and {model.KeyValueHeadCount} of keys and values, vocabulary {model.VocabularySize}, tied), random weights, blocks of 128. {Machine.Describe(threads)}. " +
            $"Memory was read at {probe.Best:f1} GB/s at best.");
        Console.WriteLine();
        report.Rows(Armor, ArmorInt8, Dense, TorchSingle, TorchBFloat);
        Console.WriteLine();
        report.Memory();
        Console.WriteLine();
        report.Aims(Armor, ArmorInt8, Dense, TorchSingle, TorchBFloat);

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
