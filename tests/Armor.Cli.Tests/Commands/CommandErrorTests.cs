namespace Armor.Cli.Tests.Commands;

/// <summary>What goes wrong is said in one line on standard error, with the exit code that fits.</summary>
public sealed class CommandErrorTests
{
    private TemporaryFolder folder = null!;
    private string model = null!;
    private string text = null!;

    [OneTimeSetUp]
    public void WriteModel()
    {
        folder = new TemporaryFolder();
        model = TinyModel.Write(folder.File("model"));
        text = TinyModel.WriteText(folder.File("text.txt"), 4, seed: 1);
        File.WriteAllText(folder.File("empty.txt"), "  \n <|endoftext|> ");
        Directory.CreateDirectory(folder.File("broken"));
        File.WriteAllText(folder.File("broken/config.json"), "{ not json");
        Directory.CreateDirectory(folder.File("no-tokenizer"));
        foreach (string name in (string[])["config.json", "model.safetensors"])
        {
            File.Copy(Path.Combine(model, name), Path.Combine(folder.File("no-tokenizer"), name));
        }
    }

    [OneTimeTearDown]
    public void DeleteFolder() => folder.Dispose();

    [TestCase("", "command")]
    [TestCase("frobnicate", "frobnicate")]
    [TestCase("eval", "--text")]
    [TestCase("eval MODEL", "--text")]
    [TestCase("eval MODEL --text TEXT --sequences 0", "--sequences")]
    [TestCase("eval MODEL --text TEXT --sequences many", "--sequences")]
    [TestCase("eval MODEL --text TEXT --windows 1", "--windows")]
    [TestCase("eval MODEL --text TEXT --windows 8 --min-length 3", "--windows")]
    [TestCase("eval MODEL --text TEXT --windows 8 --separator x", "--windows")]
    [TestCase("eval MODEL --text TEXT --separator \\q", "--separator")]
    [TestCase("eval MODEL --text TEXT --min-length -1", "--min-length")]
    [TestCase("prune MODEL --out OUT", "--calibration")]
    [TestCase("prune MODEL --calibration TEXT", "--out")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --method magic", "magic")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --preset slow", "slow")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --calibrate never", "never")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --block-size 8 --budget 0.1", "exclude")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --block-size 0", "--block-size")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --budget 1.5", "--budget")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --pattern 4:4", "4:4")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --pattern 8:16", "12870")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --samples 0", "--samples")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --seed x", "--seed")]
    [TestCase("export MODEL --format dense", "--out")]
    [TestCase("inspect", "MODEL")]
    [TestCase("demo --model MODEL", "--calibration")]
    [TestCase("generate MODEL", "--prompt")]
    [TestCase("generate MODEL --prompt x --max-tokens 0", "--max-tokens")]
    [TestCase("generate MODEL --prompt x --temperature -1", "--temperature")]
    [TestCase("generate MODEL --prompt x --top-k 0", "--top-k")]
    [TestCase("generate MODEL --prompt x --top-p 0", "--top-p")]
    [TestCase("generate MODEL --prompt x --min-p 2", "--min-p")]
    [TestCase("generate MODEL --prompt x --repetition-penalty 0", "--repetition-penalty")]
    [TestCase("generate MODEL --prompt x --seed x", "--seed")]
    [TestCase("generate MODEL --prompt x --threads 0", "--threads")]
    [TestCase("generate MODEL --prompt x --head int4", "int4")]
    [TestCase("chat MODEL --head int4", "int4")]
    [TestCase("eval MODEL --text TEXT --head int4", "int4")]
    [TestCase("eval MODEL --tasks piqa --task-data TEXT --head int8", "--head")]
    [TestCase("bench --kernels --head int8", "--head")]
    [TestCase("generate MODEL --prompt x --wrappers int4", "int4")]
    [TestCase("eval MODEL --tasks piqa --task-data TEXT --wrappers int8", "--wrappers")]
    [TestCase("bench --kernels --wrappers int8", "--wrappers")]
    [TestCase("generate MODEL --prompt x --device gpu", "--device")]
    [TestCase("generate MODEL --prompt x --device cuda:", "--device")]
    [TestCase("generate MODEL --prompt x --device cuda --threads 2", "--threads")]
    [TestCase("bench MODEL --device cuda --threads 2", "--threads")]
    [TestCase("bench --kernels --device cuda", "--device")]
    [TestCase("eval MODEL --text TEXT --device gpu", "--device")]
    [TestCase("eval MODEL --tasks piqa --task-data TEXT --torch --device cuda", "--torch")]
    [TestCase("chat", "MODEL")]
    [TestCase("bench", "--kernels")]
    [TestCase("bench MODEL --kernels", "--kernels")]
    [TestCase("bench MODEL --size 8", "--size")]
    [TestCase("bench --kernels --tokens 8", "--tokens")]
    [TestCase("bench --kernels --size 7", "--size")]
    public async Task UsageErrorsExitWith2(string command, string named) => await FailsAsync(command, 2, named);

    [TestCase("eval NOWHERE --text TEXT", "does not exist")]
    [TestCase("eval TEXT --text TEXT", "found a file")]
    [TestCase("eval MODEL --text NOWHERE", "does not exist")]
    [TestCase("eval MODEL --text EMPTY", "no document")]
    [TestCase("eval MODEL --text TEXT --min-length 1000", "1000 characters")]
    [TestCase("eval MODEL --text TEXT --windows 33", "context of 32")]
    [TestCase("eval MODEL --text EMPTY --windows 32", "too short")]
    [TestCase("eval BROKEN --text TEXT", "tokenizer")]
    [TestCase("eval NO-TOKENIZER --text TEXT", "tokenizer.json")]
    [TestCase("inspect NOWHERE", "does not exist")]
    [TestCase("inspect BROKEN", "config.json")]
    [TestCase("prune MODEL --out OUT --calibration TEXT --pattern 2:7", "cannot be 2:7")]
    [TestCase("eval MODEL --text TEXT --against NOWHERE", "does not exist")]
    [TestCase("prune NOWHERE --out OUT --calibration TEXT", "does not exist")]
    [TestCase("prune MODEL --out OUT --calibration NOWHERE", "does not exist")]
    [TestCase("prune MODEL --out OUT --calibration EMPTY", "no document")]
    [TestCase("prune NO-TOKENIZER --out OUT --calibration TEXT", "tokenizer.json")]
    [TestCase("prune MODEL --out MODEL --calibration TEXT", "not empty")]
    [TestCase("prune MODEL --out TEXT --calibration TEXT", "is a file")]
    [TestCase("export MODEL --format dense --out OUT", "ARMOR")]
    [TestCase("generate NOWHERE --prompt x", "does not exist")]
    [TestCase("generate BROKEN --prompt x", "config.json")]
    [TestCase("generate NO-TOKENIZER --prompt x", "tokenizer.json")]
    [TestCase("generate MODEL --prompt much-too-long-for-a-context-of-32", "32")]
    [TestCase("generate MODEL --prompt x --device cuda:99", "--device cuda:99: There is no CUDA d")]
    [TestCase("chat MODEL --device cuda:99", "--device cuda:99: There is no CUDA d")]
    [TestCase("bench MODEL --device cuda:99", "--device cuda:99: There is no CUDA d")]
    [TestCase("eval MODEL --text TEXT --device cuda:99", "--device cuda:99: There is no CUDA d")]
    [TestCase("chat NOWHERE", "does not exist")]
    [TestCase("chat MODEL", "no chat template")]
    [TestCase("bench NOWHERE", "does not exist")]
    [TestCase("demo --out TEXT --model MODEL --calibration TEXT --evaluation TEXT", "found a file")]
    public async Task FailuresExitWith1(string command, string named) => await FailsAsync(command, 1, named);

    [Test]
    public async Task VerboseShowsWhereAnErrorCameFrom()
    {
        ToolResult result = await Tool.RunAsync("inspect", folder.File("broken"), "--verbose");
        Assert.That(result.Code, Is.EqualTo(1));
        Assert.That(result.Error, Does.Contain("   at "));
    }

    [Test]
    public async Task HelpAndVersionExitWith0()
    {
        ToolResult help = await Tool.RunAsync("prune", "--help");
        Assert.That(help.Code, Is.Zero);
        Assert.That(help.Output, Does.Contain("--calibrate").And.Contain("--resume").And.Contain("--json"));
        Assert.That((await Tool.RunAsync("--version")).Code, Is.Zero);
        Assert.That((await Tool.RunAsync("demo", "--help")).Output, Does.Not.Contain("--evaluation"), "hidden options stay hidden");
    }

    private async Task FailsAsync(string command, int code, string named)
    {
        string[] args =
        [
            .. command.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(word => word switch
            {
                "MODEL" => model,
                "TEXT" => text,
                "EMPTY" => folder.File("empty.txt"),
                "OUT" => folder.File("out"),
                "NOWHERE" => folder.File("nowhere"),
                "BROKEN" => folder.File("broken"),
                "NO-TOKENIZER" => folder.File("no-tokenizer"),
                _ => word,
            }),
        ];

        ToolResult result = await Tool.RunAsync(args);

        Assert.That(result.Code, Is.EqualTo(code), result.ToString());
        Assert.That(result.Error, Does.StartWith("armor: ").And.Contain(named).And.Not.Contain("   at "));
        Assert.That(result.Output, Is.Empty);
        Assert.That(result.Error.Split('\n').Count(line => line.StartsWith("armor: ", StringComparison.Ordinal)), Is.EqualTo(1).Or.EqualTo(2), result.Error);
        Assert.That(Directory.Exists(folder.File("out")), Is.False, "nothing under the final name");
    }
}
