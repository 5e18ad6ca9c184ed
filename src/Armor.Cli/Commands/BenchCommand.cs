using System.CommandLine;
using System.Text.Json.Nodes;
using Armor.Cli.Hosting;
using Armor.Cli.Measuring;
using Spectre.Console;

namespace Armor.Cli.Commands;

/// <summary><c>armor bench</c>: how fast a model, or the kernels, run on this machine.</summary>
internal static class BenchCommand
{
    internal static Command Create(CommandHost host)
    {
        Argument<string> model = ModelFolder.Argument("dense or ARMOR");
        model.Arity = ArgumentArity.ZeroOrOne;
        var kernels = new Option<bool>("--kernels") { Description = "Measure the kernels alone, on weights of random numbers, instead of a model." };
        Option<int?> threads = Numbers.Integer(
            "--threads", "N", "Multiply on N threads (default: one a processor; --kernels measures on one and on that).", minimum: 1);
        Option<int?> prompt = Numbers.Integer("--prompt-tokens", "N", "Length of the prompt (default 512).", minimum: 1);
        Option<int?> tokens = Numbers.Integer("--tokens", "N", "Number of tokens that follow it (default 64).", minimum: 1);
        Option<int?> size = Numbers.Create<int>(
            "--size", "N", "Rows and columns of the kernels' weights (default 4096).", value => value is >= 4 and <= 32768 && value % 4 == 0, "a multiple of 4 up to 32768");
        Option<double?> seconds = Numbers.Create<double>(
            "--seconds", "S", "How long each kernel, or the memory beside a model, is measured (default 0.5).", value => value is >= 0 and <= 60, "from 0 to 60");
        Option<string> device = DeviceOption.Create();
        var types = new HeldTypeOptions();
        var command = new Command("bench", "Measures how fast a model, or the kernels, run on this machine.")
        {
            model, kernels, threads, prompt, tokens, size, seconds, device,
        };
        foreach (Option option in types.All)
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => host.RunAsync(parsed, cancellationToken, async session =>
        {
            double each = parsed.GetValue(seconds) ?? 0.5;
            int count = parsed.GetValue(threads) ?? Environment.ProcessorCount;
            string? given = parsed.GetValue(model);
            if (parsed.GetValue(kernels) == given is not null)
            {
                throw new UsageException("give a model's folder or --kernels, and not both.");
            }

            if (given is null)
            {
                Refuse(parsed, [prompt, tokens, device, .. types.All]);
                await KernelsAsync(session, parsed.GetValue(size) ?? 4096, count, each).ConfigureAwait(false);
                return;
            }

            Refuse(parsed, size);
            int? card = DeviceOption.Read(parsed, device, threads);
            ModelBench bench = await session.RunAsync("Measuring", steps =>
            {
                string folder = ModelFolder.Existing(given);
                ModelWork work = ModelWork.Of(folder, types.Read(parsed));
                using LoadedModel loaded = LoadedModel.Load(folder, count, card, types.Read(parsed), session.CancellationToken);
                MemoryBandwidth? bandwidth = card is null ? MemoryBandwidth.Measure(count, each, session.CancellationToken) : null;
                return ModelBench.Measure(
                    loaded,
                    work,
                    parsed.GetValue(prompt) ?? 512,
                    parsed.GetValue(tokens) ?? 64,
                    bandwidth?.GigabytesPerSecond,
                    warmUpSeconds: 4 * each,
                    steps,
                    session.CancellationToken);
            }).ConfigureAwait(false);
            session.Write(bench.ToJson, bench.Print);
        }));
        return command;
    }

    private static async Task KernelsAsync(CommandSession session, int size, int threads, double seconds)
    {
        (IReadOnlyList<MemoryBandwidth> bandwidths, IReadOnlyList<KernelRow> rows) = await session.RunAsync("Measuring", steps =>
            new KernelBench(size, seconds, session.CancellationToken).Measure([.. new[] { 1, threads }.Distinct()], steps)).ConfigureAwait(false);
        session.Write(() => ToJson(bandwidths, rows), console => Print(console, bandwidths, rows));
    }

    private static void Refuse(ParseResult parsed, params Option[] options)
    {
        if (options.FirstOrDefault(option => parsed.GetResult(option) is not null) is { } wrong)
        {
            throw new UsageException($"{wrong.Name} does not go with {(wrong.Name == "--size" ? "a model" : "--kernels")}.");
        }
    }

    private static JsonObject ToJson(IReadOnlyList<MemoryBandwidth> bandwidths, IReadOnlyList<KernelRow> rows) => new()
    {
        ["bandwidth"] = new JsonArray([.. bandwidths.Select(bandwidth => (JsonNode)new JsonObject
        {
            ["threads"] = bandwidth.Threads,
            ["gigabytesPerSecond"] = bandwidth.GigabytesPerSecond,
        })]),
        ["rows"] = new JsonArray([.. rows.Select(row => (JsonNode)row.ToJson())]),
    };

    private static void Print(IAnsiConsole console, IReadOnlyList<MemoryBandwidth> bandwidths, IReadOnlyList<KernelRow> rows)
    {
        foreach (MemoryBandwidth bandwidth in bandwidths)
        {
            console.WriteLine(Numbers.Invariant($"Memory is read at {bandwidth.GigabytesPerSecond:0.0} GB/s by {bandwidth.Threads} thread(s) at best; a row's share is of what was read beside it."));
        }

        Table table = Tables.OfNumbers("Kernel", "Weight", "Batch", "Threads", "µs", "GB/s", "of the bandwidth", "GFLOP/s, dense-equivalent");
        foreach (KernelRow row in rows)
        {
            table.AddRow(
                $"{row.Kernel} {row.Type}",
                Numbers.Invariant($"{row.Rows} × {row.Columns}"),
                Numbers.Invariant($"{row.Batch}"),
                Numbers.Invariant($"{row.Threads}"),
                Numbers.Invariant($"{row.Microseconds:0.0}"),
                Numbers.Invariant($"{row.GigabytesPerSecond:0.0}"),
                Numbers.Invariant($"{100 * row.FractionOfBandwidth:0} %"),
                Numbers.Invariant($"{row.DenseGigaflopsPerSecond:0.0}"));
        }

        console.Write(table);
    }
}
