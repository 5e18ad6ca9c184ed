using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Text.Json;
using Armor.Benchmarks.Scale;
using Armor.Cli.Measuring;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Benchmarks.Models;

/// <summary>What a process of its own took that loaded a model and generated.</summary>
/// <param name="FileBytes">The folder's weights.</param>
/// <param name="Seconds">How long loading took.</param>
/// <param name="StartBytes">Resident before.</param>
/// <param name="LoadedPeak">Highest resident memory up to when the model was loaded.</param>
/// <param name="Peak">Highest resident memory at the end, after a prompt of 512 tokens and 48 more, and a shorter one.</param>
/// <param name="AllocatedPerToken">Managed bytes that a token allocated, all threads together, in a session with room; greedy.</param>
/// <param name="AllocatedPerDraw">The same, drawn from the likeliest that hold 95 % of the probability.</param>
internal sealed record ModelMemory(
    long FileBytes, double Seconds, long StartBytes, long LoadedPeak, long Peak, double AllocatedPerToken, double AllocatedPerDraw)
{
    private const int PromptTokens = 512;
    private const int WarmUpTokens = 16;
    private const int MeasuredTokens = 32;

    /// <summary>The verb of the process.</summary>
    public const string Verb = "model-memory";

    /// <summary>Measures in a process of its own.</summary>
    /// <param name="folder">Dense or ARMOR.</param>
    /// <param name="threads">That load and multiply.</param>
    /// <param name="types">In which types parts are held; null for the stored ones.</param>
    /// <param name="program">Another build's assembly; null for this one.</param>
    /// <param name="isLoadOnly">Whether to generate nothing, so that only seconds and the peak until then mean something.</param>
    public static ModelMemory Measure(string folder, int threads, HeldTypes? types = null, string? program = null, bool isLoadOnly = false)
    {
        string path = program is null ? Environment.ProcessPath! : "dotnet";
        string[] host = Path.GetFileNameWithoutExtension(path) == "dotnet" ? [program ?? Assembly.GetEntryAssembly()!.Location] : [];
        var start = new ProcessStartInfo(path, [.. host, Verb, folder, threads.ToString(CultureInfo.InvariantCulture), $"{types?.Head}", $"{isLoadOnly}", $"{types?.Wrappers}"]) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? JsonSerializer.Deserialize<ModelMemory>(output)!
            : throw new InvalidOperationException($"The process that loads {folder} failed with code {process.ExitCode}.");
    }

    /// <summary>The process: prints what it measured.</summary>
    public static int Run(string[] arguments)
    {
        (string folder, int threads) = (arguments[0], int.Parse(arguments[1], CultureInfo.InvariantCulture));
        long files = Directory.GetFiles(folder, "*.safetensors").Sum(file => new FileInfo(file).Length);
        long resident = Process.GetCurrentProcess().WorkingSet64;
        using var backend = new CpuBackend(new CpuBackendOptions { Threads = threads });
        long begin = Stopwatch.GetTimestamp();
        HeldTypes types = new(Parse(arguments[2]), Parse(arguments[4]));
        using ArmorModel model = ArmorModel.Load(folder, new ArmorModelOptions { Backend = backend, HeadType = types.Head, WrapperType = types.Wrappers });
        double seconds = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        long loaded = MemoryWatch.Highest;
        int[] prompt = RandomModel.Tokens(PromptTokens, model.Configuration, seed: 3);
        bool isLoadOnly = bool.Parse(arguments[3]);
        double greedy = isLoadOnly ? 0 : Allocated(model, prompt, GenerationOptions.Greedy);
        double drawn = isLoadOnly ? 0 : Allocated(model, prompt[..(PromptTokens / 8)], GenerationOptions.Sampled);
        Console.WriteLine(JsonSerializer.Serialize(new ModelMemory(files, seconds, resident, loaded, MemoryWatch.Highest, greedy, drawn)));
        return 0;
    }

    private static TensorElementType? Parse(string type) => type.Length > 0 ? Enum.Parse<TensorElementType>(type) : null;

    private static double Allocated(ArmorModel model, int[] prompt, GenerationOptions options)
    {
        GenerationSession session = model.CreateSession(PromptTokens + WarmUpTokens + MeasuredTokens);
        long before = 0;
        foreach (GenerationUpdate update in model.Stream(
            prompt, options with { MaxTokens = WarmUpTokens + MeasuredTokens, StopAtEndOfSequence = false }, session))
        {
            if (update.GeneratedTokens == WarmUpTokens)
            {
                before = GC.GetTotalAllocatedBytes(precise: true);
            }
        }

        return (GC.GetTotalAllocatedBytes(precise: true) - before) / (double)MeasuredTokens;
    }
}
