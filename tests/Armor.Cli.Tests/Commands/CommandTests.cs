using System.Text.Json;
using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Tests.Commands;

/// <summary>Every verb on a tiny random model: exit codes, the shape of the JSON, what is left on disk.</summary>
public sealed class CommandTests
{
    private static readonly string[] EvalKeys = ["perplexity", "nll", "nllStandardError", "predictions", "sequences", "cutSequences", "lostTokens", "seconds"];
    private static readonly string[] LayerKeys = ["name", "rows", "columns", "outputBlock", "inputBlock"];

    private TemporaryFolder folder = null!;
    private string model = null!;
    private string calibration = null!;
    private string evaluation = null!;

    [OneTimeSetUp]
    public void WriteModel()
    {
        folder = new TemporaryFolder();
        model = TinyModel.Write(folder.File("model"));
        calibration = TinyModel.WriteText(folder.File("calibration.txt"), 12, seed: 1);
        evaluation = TinyModel.WriteText(folder.File("evaluation.txt"), 10, seed: 2);
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [Test]
    public async Task EvalWritesOneJsonObject()
    {
        ToolResult result = await Tool.RunAsync("eval", model, "--text", evaluation, "--sequences", "8", "--json");

        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(Keys(result.Json), Is.EqualTo(EvalKeys));
        Assert.That(result.Json.GetProperty("sequences").GetInt32(), Is.EqualTo(8));
        // A random model of small weights knows nothing: its perplexity is near the size of the vocabulary.
        Assert.That(result.Json.GetProperty("perplexity").GetDouble(), Is.EqualTo(260).Within(10).Percent);
        Assert.That(Math.Log(result.Json.GetProperty("perplexity").GetDouble()), Is.EqualTo(result.Json.GetProperty("nll").GetDouble()).Within(1e-9));
    }

    [Test]
    public async Task EvalTellsTheDifferenceToAnotherModel()
    {
        string other = TinyModel.Write(folder.File("other"), seed: 5);
        ToolResult first = await Tool.RunAsync("eval", model, "--text", evaluation, "--json");
        ToolResult second = await Tool.RunAsync("eval", other, "--text", evaluation, "--json");
        ToolResult both = await Tool.RunAsync("eval", model, "--against", other, "--text", evaluation, "--json");
        Assert.That(both.Code, Is.Zero, both.ToString());
        Assert.That(Keys(both.Json), Is.EqualTo((string[])[.. EvalKeys, "deltaNll", "deltaNllStandardError"]));
        double expected = first.Json.GetProperty("nll").GetDouble() - second.Json.GetProperty("nll").GetDouble();
        Assert.That(both.Json.GetProperty("deltaNll").GetDouble(), Is.EqualTo(expected).Within(1e-9).And.Not.Zero);
        Assert.That(both.Json.GetProperty("deltaNllStandardError").GetDouble(), Is.Positive);
    }

    /// <summary>The runtime gives what TorchSharp gives; a head in 8 bits a little else.</summary>
    [Test]
    public async Task EvalMeasuresAHeadOfTheRuntime()
    {
        double exact = (await Tool.RunAsync("eval", model, "--text", evaluation, "--json")).Json.GetProperty("nll").GetDouble();
        ToolResult stored = await Tool.RunAsync("eval", model, "--text", evaluation, "--head", "stored", "--json");
        Assert.That(stored.Code, Is.Zero, stored.ToString());
        Assert.That(stored.Json.GetProperty("nll").GetDouble(), Is.EqualTo(exact).Within(1e-5));
        ToolResult both = await Tool.RunAsync("eval", model, "--text", evaluation, "--head", "int8", "--against", model, "--json");
        Assert.That(both.Code, Is.Zero, both.ToString());
        Assert.That(both.Json.GetProperty("deltaNll").GetDouble(), Is.EqualTo(both.Json.GetProperty("nll").GetDouble() - stored.Json.GetProperty("nll").GetDouble()).Within(1e-12));
        Assert.That(Math.Abs(both.Json.GetProperty("deltaNll").GetDouble()), Is.GreaterThan(1e-9).And.LessThan(1e-3));
        Assert.That(both.Json.GetProperty("predictions").GetInt64(), Is.EqualTo(stored.Json.GetProperty("predictions").GetInt64()));
    }

    [Test]
    public async Task EvalPrintsForPeople()
    {
        ToolResult result = await Tool.RunAsync("eval", model, "--text", evaluation);
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Output, Does.Contain("Perplexity").And.Contain("Predictions").And.Not.Contain("{").And.Not.Contain("\u001b"));
    }

    [Test]
    public async Task EvalCutsWindowsOfTheJoinedText()
    {
        ToolResult result = await Tool.RunAsync("eval", model, "--text", evaluation, "--windows", "16", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        int windows = (File.ReadAllText(evaluation).Length + 1) / 16; // one byte a token, and the start
        Assert.That(result.Json.GetProperty("sequences").GetInt32(), Is.EqualTo(windows));
        Assert.That(result.Json.GetProperty("predictions").GetInt32(), Is.EqualTo(windows * 15));
    }

    [Test]
    public async Task EvalTakesTheSeparatorAndLengthGiven()
    {
        string text = folder.File("lines.txt");
        File.WriteAllText(text, "aaaa\n\nbbbbb\n\ncccccc\nc");
        ToolResult result = await Tool.RunAsync("eval", model, "--text", text, "--separator", @"\n\n", "--min-length", "4", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Json.GetProperty("predictions").GetInt32(), Is.EqualTo(5 + 8));
    }

    [Test]
    public async Task PrunedModelIsInspectedEvaluatedAndExported()
    {
        string pruned = folder.File("pruned");
        ToolResult prune = await Tool.RunAsync(
            "prune", model, "--out", pruned, "--calibration", calibration, "--preset", "fast", "--block-size", "4", "--samples", "10", "--json");
        Assert.That(prune.Code, Is.Zero, prune.ToString());
        Assert.That(Keys(prune.Json), Is.EqualTo((string[])["layers", "bytes", "denseBytes", "seconds"]));
        JsonElement layer = prune.Json.GetProperty("layers")[0];
        Assert.That(Keys(layer), Is.EqualTo((string[])[.. LayerKeys, "loss", "startLoss", "seconds", "notes"]));
        Assert.That(prune.Json.GetProperty("layers").GetArrayLength(), Is.EqualTo(7));
        Assert.That(layer.GetProperty("loss").GetDouble(), Is.LessThan(layer.GetProperty("startLoss").GetDouble()));
        Assert.That(Directory.Exists(pruned + ".partial"), Is.False);

        ToolResult inspect = await Tool.RunAsync("inspect", pruned, "--json");
        Assert.That(inspect.Code, Is.Zero, inspect.ToString());
        Assert.That(Keys(inspect.Json.GetProperty("layers")[0]), Is.EqualTo((string[])[.. LayerKeys, "bytes", "denseBytes"]));
        foreach (string key in (string[])["bytes", "denseBytes"])
        {
            Assert.That(inspect.Json.GetProperty(key).GetInt64(), Is.EqualTo(prune.Json.GetProperty(key).GetInt64()), key);
        }

        ToolResult again = await Tool.RunAsync("prune", model, "--out", pruned, "--calibration", calibration);
        Assert.That(again.Code, Is.EqualTo(1), again.ToString());
        Assert.That(again.Error, Does.Contain(pruned).And.Contain("not empty"));

        string dense = folder.File("dense");
        ToolResult export = await Tool.RunAsync("export", pruned, "--format", "dense", "--out", dense, "--json");
        Assert.That(export.Code, Is.Zero, export.ToString());
        Assert.That(export.Json.GetProperty("linears").GetInt32(), Is.EqualTo(7));
        double[] nll = [await NllAsync(pruned), await NllAsync(dense)];
        Assert.That(nll[1], Is.EqualTo(nll[0]).Within(1e-3), "the export is the same model, but for rounding");

        ToolResult held = await Tool.RunAsync("eval", pruned, "--text", evaluation, "--wrappers", "int8", "--against", pruned, "--json");
        Assert.That(held.Code, Is.Zero, held.ToString());
        Assert.That(Math.Abs(held.Json.GetProperty("deltaNll").GetDouble()), Is.GreaterThan(1e-9).And.LessThan(1e-2), "wrappers in 8 bits are a little else");
        ToolResult ofStored = await Tool.RunAsync("bench", pruned, "--tokens", "2", "--seconds", "0", "--json");
        ToolResult ofInt8 = await Tool.RunAsync("bench", pruned, "--tokens", "2", "--seconds", "0", "--wrappers", "int8", "--json");
        Assert.That(ofInt8.Json.GetProperty("bytesPerToken").GetInt64(), Is.Not.EqualTo(ofStored.Json.GetProperty("bytesPerToken").GetInt64()), "bytes of the type they are held in");

        ToolResult sparse = await Tool.RunAsync("export", pruned, "--format", "sparse24", "--out", folder.File("sparse"));
        Assert.That(sparse.Code, Is.EqualTo(1), "wrappers do not fit that format");
        Assert.That(Directory.Exists(folder.File("sparse")), Is.False);
    }

    [Test]
    public async Task ADryRunTellsTheSizeOfTheOutputToTheByteAndWritesNothing()
    {
        string output = folder.File("foretold");
        string[] command =
            ["prune", model, "--out", output, "--calibration", calibration, "--preset", "fast", "--block-size", "4", "--uniform-blocks", "--shard-size", "10KB", "--memory", "3GB", "--json"];
        ToolResult dry = await Tool.RunAsync([.. command, "--dry-run"]);
        Assert.That(dry.Code, Is.Zero, dry.ToString());
        Assert.That(Directory.Exists(output) || Directory.Exists(output + ".partial"), Is.False);
        Assert.That(
            Keys(dry.Json),
            Is.EqualTo((string[])["seconds", "calibrationSeconds", "pruningSeconds", "fileSeconds", "peakMemory", "workBytes", "outputBytes", "freeBytes", "tokensPerBatch"]));
        Assert.That(dry.Json.GetProperty("seconds").GetDouble(), Is.Positive);
        Assert.That(dry.Json.GetProperty("peakMemory").GetInt64(), Is.InRange(1, 3_000_000_000));

        ToolResult prune = await Tool.RunAsync(command);
        Assert.That(prune.Code, Is.Zero, prune.ToString());
        Assert.That(Directory.GetFiles(output, "model-*-of-*.safetensors"), Has.Length.GreaterThan(1));
        Assert.That(dry.Json.GetProperty("outputBytes").GetInt64(), Is.EqualTo(Directory.GetFiles(output).Sum(file => new FileInfo(file).Length)));
        Assert.That((await Tool.RunAsync("eval", output, "--text", evaluation, "--json")).Code, Is.Zero, "shards are read back");

        ToolResult table = await Tool.RunAsync("prune", model, "--out", folder.File("never"), "--calibration", calibration, "--dry-run");
        Assert.That(table.Output, Does.Contain("Memory at its peak").And.Contain("Output"));
        ToolResult small = await Tool.RunAsync("prune", model, "--out", folder.File("never"), "--calibration", calibration, "--memory", "1MB");
        Assert.That(small.Code, Is.EqualTo(1), small.ToString());
        Assert.That(small.Error, Does.Contain("MemoryBudget must be at least"));
        Assert.That((await Tool.RunAsync("prune", model, "--out", "x", "--calibration", calibration, "--memory", "much")).Code, Is.EqualTo(2));
    }

    [Test]
    public async Task ChannelsStayInTheirOrderWhereAskedTo()
    {
        using CheckpointFolder dense = CheckpointFolder.Open(model);
        float[] gate = dense.ReadFloat32("model.layers.0.mlp.gate_proj.weight");
        foreach ((string name, string[] option, bool near) in new (string, string[], bool)[] { ("ordered", [], false), ("as-it-is", ["--no-order"], true) })
        {
            string output = folder.File(name);
            ToolResult prune = await Tool.RunAsync(
                ["prune", model, "--out", output, "--calibration", calibration, "--preset", "fast", "--block-size", "4", "--samples", "10", .. option]);
            Assert.That(prune.Code, Is.Zero, prune.ToString());
            using ArmorCheckpoint pruned = ArmorCheckpoint.Open(output);
            double error = gate.Zip(pruned.ReadLayer("model.layers.0.mlp.gate_proj").ToDense(), (w, p) => Math.Pow(w - p, 2)).Sum() / gate.Sum(w => (double)w * w);
            Assert.That(error, near ? Is.LessThan(0.5) : Is.GreaterThan(1));
        }
    }

    [TestCase("4:8", "armor", 0.5625)]
    [TestCase("1:4", "wanda", 0.3125)]
    [TestCase("6:8", "sparsegpt", 0.8125)]
    public async Task AnotherPatternIsPrunedInspectedAndExportedDense(string pattern, string method, double share)
    {
        string pruned = folder.File(pattern.Replace(':', '-'));
        ToolResult prune = await Tool.RunAsync(
            "prune", model, "--out", pruned, "--calibration", calibration, "--method", method, "--pattern", pattern, "--preset", "fast", "--block-size", "1", "--json");
        Assert.That(prune.Code, Is.Zero, prune.ToString());
        Assert.That(prune.Json.GetProperty("bytes").GetInt64(), Is.EqualTo(prune.Json.GetProperty("denseBytes").GetInt64() * share));

        Assert.That((await Tool.RunAsync("inspect", pruned)).Output, Does.Contain($"7 pruned linears, {pattern} in "));
        ToolResult inspect = await Tool.RunAsync("inspect", pruned, "--json");
        Assert.That(inspect.Json.GetProperty("pattern").GetString(), Is.EqualTo(pattern));

        ToolResult sparse = await Tool.RunAsync("export", pruned, "--format", "sparse24", "--out", folder.File("no"));
        Assert.That(sparse.Error, Does.Contain(pattern).And.Contain("2:4"));
        ToolResult export = await Tool.RunAsync("export", pruned, "--format", "dense", "--out", pruned + "-dense");
        Assert.That(export.Code, Is.Zero, export.ToString());
        Assert.That(await NllAsync(pruned + "-dense"), Is.EqualTo(await NllAsync(pruned)).Within(1e-3));
    }

    [Test]
    public async Task QuantisedCoresArePrunedInspectedAndExported()
    {
        string pruned = folder.File("int8");
        string[] arguments = ["prune", model, "--out", pruned, "--calibration", calibration, "--method", "wanda", "--core-type", "int8"];
        ToolResult estimate = await Tool.RunAsync([.. arguments, "--dry-run", "--json"]);
        ToolResult prune = await Tool.RunAsync([.. arguments, "--json"]);
        Assert.That(prune.Code, Is.Zero, prune.ToString());
        Assert.That(estimate.Json.GetProperty("outputBytes").GetInt64(), Is.EqualTo(Directory.GetFiles(pruned).Sum(file => new FileInfo(file).Length)));

        ToolResult inspect = await Tool.RunAsync("inspect", pruned, "--json");
        Assert.That(inspect.Json.GetProperty("coreType").GetString(), Is.EqualTo("I8"));
        Assert.That(inspect.Json.GetProperty("elementType").GetString(), Is.Not.EqualTo("I8"));
        Assert.That(inspect.Json.GetProperty("bytes").GetInt64(), Is.EqualTo(prune.Json.GetProperty("bytes").GetInt64()));
        Assert.That((await Tool.RunAsync("inspect", pruned)).Output, Does.Contain("7 pruned linears, 2:4 in Int8 with "));
        ToolResult export = await Tool.RunAsync("export", pruned, "--format", "dense", "--out", pruned + "-dense");
        Assert.That(export.Code, Is.Zero, export.ToString());
        Assert.That(await NllAsync(pruned + "-dense"), Is.EqualTo(await NllAsync(pruned)).Within(1e-3));
    }

    [TestCase("magnitude")]
    [TestCase("wanda")]
    [TestCase("nowag-p")]
    [TestCase("sparsegpt")]
    [TestCase("dense24")]
    public async Task PlainMethodsExportAsSparse24(string method)
    {
        string pruned = folder.File(method);
        ToolResult prune = await Tool.RunAsync("prune", model, "--out", pruned, "--calibration", calibration, "--method", method, "--calibrate", "dense", "--json");
        Assert.That(prune.Code, Is.Zero, prune.ToString());
        Assert.That(prune.Json.GetProperty("bytes").GetInt64(), Is.EqualTo(prune.Json.GetProperty("denseBytes").GetInt64() * 0.5625), "plain 2:4");

        ToolResult export = await Tool.RunAsync("export", pruned, "--format", "sparse24", "--out", pruned + "-sparse");
        Assert.That(export.Code, Is.Zero, export.ToString());
        Assert.That(File.Exists(Path.Combine(pruned + "-sparse", "model.safetensors")), Is.True);
    }

    [Test]
    public async Task InspectKnowsADenseModel()
    {
        ToolResult result = await Tool.RunAsync("inspect", model, "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(result.Json.GetProperty("layers").GetArrayLength(), Is.Zero);
        Assert.That((await Tool.RunAsync("inspect", model)).Output, Does.Contain("Dense"));
    }

    [Test]
    public async Task DemoWritesRowsChartAndReport()
    {
        string output = folder.File("demo");
        ToolResult result = await Tool.RunAsync(
            "demo", "--quick", "--out", output, "--json", "--model", model, "--calibration", calibration, "--evaluation", evaluation);

        Assert.That(result.Code, Is.Zero, result.ToString());
        JsonElement rows = result.Json.GetProperty("rows");
        Assert.That(Keys(rows[0]), Is.EqualTo((string[])["method", "storage", "perplexity", "deltaNll", "seconds"]));
        Assert.That(rows[0].GetProperty("method").GetString(), Is.EqualTo("dense"));
        Assert.That(rows[0].GetProperty("deltaNll").GetDouble(), Is.Zero);
        Assert.That(rows.EnumerateArray().Select(row => row.GetProperty("method").GetString()), Does.Contain("armor fast"));
        byte[] png = File.ReadAllBytes(Path.Combine(output, "demo.png"));
        Assert.That(png.Take(4), Is.EqualTo((byte[])[0x89, (byte)'P', (byte)'N', (byte)'G']));
        string report = File.ReadAllText(Path.Combine(output, "demo.md"));
        Assert.That(report, Does.Contain("| armor fast |").And.Contain("demo.png"));
        Assert.That(Directory.GetFiles(output), Has.Length.EqualTo(2), "no temporary file is left");
    }

    [Test]
    public async Task CancelledPruningExitsWith130AndCanBeResumed()
    {
        string output = folder.File("cancelled");
        using var source = new CancellationTokenSource();
        string[] command = ["prune", model, "--out", output, "--calibration", calibration, "--preset", "paper"];
        Task<ToolResult> running = Tool.RunAsync(source.Token, command);
        // Cancelled once the first linear is finished; the paper's optimiser has work for the others. The watch has a thread of its own: those of
        // the pool are busy pruning, and a continuation could wait there until all is done.
        var watch = new Thread(() =>
        {
            while (!running.IsCompleted && !(Directory.Exists(output + ".partial") && Directory.EnumerateFiles(output + ".partial", "*.safetensors").Any()))
            {
                Thread.Sleep(1);
            }

            source.Cancel();
        });
        watch.Start();
        ToolResult result = await running;
        watch.Join();

        Assert.That(result.Code, Is.EqualTo(130), result.ToString());
        Assert.That(result.Error, Does.Contain("--resume").And.Contain("cancelled"));
        Assert.That(Directory.Exists(output), Is.False);

        ToolResult blocked = await Tool.RunAsync("prune", model, "--out", output, "--calibration", calibration, "--method", "magnitude");
        Assert.That(blocked.Code, Is.EqualTo(1), "an interrupted run is in the way");
    }

    [Test]
    public async Task CancelledBeforeTheStartExitsWith130()
    {
        foreach (string[] command in (string[][])
            [
                ["eval", model, "--text", evaluation, "--json"],
                ["demo", "--quick", "--out", folder.File("never"), "--model", model, "--calibration", calibration, "--evaluation", evaluation],
                ["prune", model, "--out", folder.File("never"), "--calibration", calibration],
            ])
        {
            ToolResult result = await Tool.RunAsync(new CancellationToken(canceled: true), command);
            Assert.That(result.Code, Is.EqualTo(130), result.ToString());
            Assert.That(result.Output, Is.Empty);
            Assert.That(Directory.Exists(folder.File("never")), Is.False);
        }
    }

    private static string[] Keys(JsonElement element) => [.. element.EnumerateObject().Select(member => member.Name)];

    private async Task<double> NllAsync(string path)
    {
        ToolResult result = await Tool.RunAsync("eval", path, "--text", evaluation, "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        return result.Json.GetProperty("nll").GetDouble();
    }
}
