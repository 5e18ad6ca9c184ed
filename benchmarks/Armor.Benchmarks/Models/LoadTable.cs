using System.Diagnostics;
using Armor.Cli.Measuring;
using Armor.Runtime.Checkpoints;

namespace Armor.Benchmarks.Models;

/// <summary>
/// How long a model of the shape of Llama 3.2 1B takes to load, in processes of its own, beside reading its files and nothing else. With <c>against</c>
/// another build of this program loads the same files by turns.
/// </summary>
internal static class LoadTable
{
    private const int Piece = 1 << 20;

    /// <summary>Prints the table.</summary>
    /// <param name="arguments">
    /// <c>NAME=VALUE</c>: <c>threads</c>, <c>rounds</c>, <c>folder</c> (where to make the weights, 6 GB), <c>against</c> (another build's Armor.Benchmarks.dll).
    /// </param>
    public static int Run(string[] arguments)
    {
        var options = new Dictionary<string, string>
        {
            ["threads"] = $"{Environment.ProcessorCount}", ["rounds"] = "5", ["folder"] = Path.GetTempPath(), ["against"] = string.Empty,
        };
        foreach (string[] argument in arguments.Select(argument => argument.Split('=', 2)))
        {
            if (argument.Length != 2 || !options.ContainsKey(argument[0]))
            {
                Console.Error.WriteLine($"load {string.Join(' ', options.Select(option => $"[{option.Key}={option.Value}]"))}");
                return 2;
            }

            options[argument[0]] = argument[1];
        }

        string folder = Path.Combine(options["folder"], $"armor-load-{Environment.ProcessId}");
        try
        {
            Measure(folder, int.Parse(options["threads"]), int.Parse(options["rounds"]), options["against"]);
            return 0;
        }
        finally
        {
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    private static void Measure(string folder, int threads, int rounds, string against)
    {
        (string dense, string armor, string int8) = (Path.Combine(folder, "dense"), Path.Combine(folder, "armor"), Path.Combine(folder, "armor-int8"));
        RandomModel.WriteDense(dense, RandomModel.Llama1B);
        RandomModel.WriteArmor(dense, armor, isInt8: false);
        RandomModel.WriteArmor(dense, int8, isInt8: true);
        Console.WriteLine($"The shape of Llama 3.2 1B, random weights, files in the system's cache, {rounds} rounds. {Machine.Describe(threads)}.");
        Console.WriteLine();
        Console.WriteLine("| model | files, GB | what | s, least | median | GB/s |");
        Console.WriteLine("| --- | ---: | --- | ---: | ---: | ---: |");
        foreach ((string name, string path) in new[] { ("dense bfloat16", dense), ("bfloat16 core", armor), ("int8 core", int8) })
        {
            var times = new Dictionary<string, List<double>>();
            long bytes = 0;
            for (int round = 0; round < rounds; round++)
            {
                Add("the files read, nothing else", Read(path, threads));
                Load("loaded", null, null);
                Load("loaded, head in int8", new HeldTypes(TensorElementType.Int8, null), null);
                Load("loaded, head and wrappers in int8", new HeldTypes(TensorElementType.Int8, TensorElementType.Int8), null);
                if (against.Length > 0)
                {
                    Load("loaded by the other build", null, against);
                }
            }

            foreach ((string what, List<double> own) in times)
            {
                own.Sort();
                Console.WriteLine($"| {name} | {bytes / 1e9:f2} | {what} | {own[0]:f2} | {own[own.Count / 2]:f2} | {bytes / own[0] / 1e9:f2} |");
            }

            void Load(string what, HeldTypes? types, string? program)
            {
                ModelMemory loaded = ModelMemory.Measure(path, threads, types, program, isLoadOnly: true);
                bytes = loaded.FileBytes;
                Add(what, loaded.Seconds);
            }

            void Add(string what, double seconds)
            {
                times.TryAdd(what, []);
                times[what].Add(seconds);
            }
        }
    }

    /// <summary>Seconds to read a folder's weights in pieces on all threads.</summary>
    private static double Read(string folder, int threads)
    {
        long begin = Stopwatch.GetTimestamp();
        foreach (string path in Directory.GetFiles(folder, "*.safetensors"))
        {
            using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path);
            long length = RandomAccess.GetLength(file);
            Parallel.For(
                0,
                (length + Piece - 1) / Piece,
                new ParallelOptions { MaxDegreeOfParallelism = threads },
                () => new byte[Piece],
                (piece, _, buffer) =>
                {
                    RandomAccess.Read(file, buffer, piece * Piece);
                    return buffer;
                },
                _ => { });
        }

        return Stopwatch.GetElapsedTime(begin).TotalSeconds;
    }
}
