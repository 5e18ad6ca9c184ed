using System.Text.Json;

namespace Armor.Cli.Tests.Commands;

/// <summary>That the numbers are there and belong together; not how large they are.</summary>
public sealed class BenchCommandTests
{
    private static readonly string[] RowKeys =
        ["kernel", "type", "rows", "columns", "batch", "threads", "microseconds", "gigabytesPerSecond", "fractionOfBandwidth"];

    [Test]
    public async Task KernelsGiveRowsBesideTheBandwidth()
    {
        ToolResult result = await Tool.RunAsync("bench", "--kernels", "--size", "64", "--seconds", "0", "--threads", "2", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        Assert.That(Keys(result.Json), Is.EqualTo((string[])["bandwidth", "rows"]));
        var bandwidths = result.Json.GetProperty("bandwidth").EnumerateArray().ToDictionary(
            entry => entry.GetProperty("threads").GetInt32(), entry => entry.GetProperty("gigabytesPerSecond").GetDouble());
        Assert.That(bandwidths.Keys, Is.EqualTo(new[] { 1, 2 }));
        Assert.That(bandwidths.Values, Is.All.Positive);
        JsonElement[] rows = [.. result.Json.GetProperty("rows").EnumerateArray()];
        Assert.That(rows, Has.Length.EqualTo(11 * 4 * 2), "kernels, types, batches, threads");
        Assert.That(rows.Select(row => row.GetProperty("kernel").GetString()).Distinct(), Is.EqualTo(new[] { "dense", "2:4", "armor", "armor, int8 wrappers" }));
        Assert.That(rows.Select(row => row.GetProperty("type").GetString()).Distinct(), Is.EqualTo(new[] { "float32", "bfloat16", "int8" }));
        foreach (JsonElement row in rows)
        {
            Assert.That(Keys(row), Is.EqualTo(RowKeys));
            Assert.That((row.GetProperty("rows").GetInt32(), row.GetProperty("columns").GetInt32()), Is.EqualTo((64, 64)));
            Assert.That(row.GetProperty("fractionOfBandwidth").GetDouble(), Is.Positive);
        }

        JsonElement dense = rows[0];
        double bytes = dense.GetProperty("gigabytesPerSecond").GetDouble() * dense.GetProperty("microseconds").GetDouble() * 1e3;
        Assert.That(bytes, Is.EqualTo(4 * 64 * 64).Within(10).Percent, "the weight of float32 numbers is read once a call");
        ToolResult table = await Tool.RunAsync("bench", "--kernels", "--size", "8", "--seconds", "0", "--threads", "1");
        Assert.That(table.Output, Does.Contain("armor bfloat16").And.Contain("GB/s"));
    }

    [Test]
    public async Task AModelGivesTokensASecond()
    {
        using var folder = new TemporaryFolder();
        string model = TinyModel.Write(folder.File("model"));
        ToolResult result = await Tool.RunAsync("bench", model, "--threads", "1", "--tokens", "5", "--seconds", "0", "--json");
        Assert.That(result.Code, Is.Zero, result.ToString());
        JsonElement json = result.Json;
        Assert.That(json.GetProperty("promptTokens").GetInt32(), Is.EqualTo(TinyModel.ContextLength / 2), "as much as fits");
        Assert.That(json.GetProperty("decodeTokens").GetInt32(), Is.EqualTo(5));
        // Attention 32→32, twice 32→16, 32→32; the MLP three of 32×48; the head of 260 rows: two operations a weight.
        double flops = json.GetProperty("decodeGigaflopsPerSecond").GetDouble() / json.GetProperty("decodeTokensPerSecond").GetDouble() * 1e9;
        Assert.That(flops, Is.EqualTo(2 * ((2 * 32 * 32) + (2 * 32 * 16) + (3 * 32 * 48) + (260 * 32))).Within(1e-3));
        // The same weights in bfloat16, and three norms.
        Assert.That(json.GetProperty("bytesPerToken").GetInt64(), Is.EqualTo(flops + (2 * 3 * 32)).Within(1e-3));
        Assert.That(json.GetProperty("decodeFractionOfBandwidth").GetDouble(), Is.Positive);
        ToolResult int8 = await Tool.RunAsync("bench", model, "--tokens", "5", "--seconds", "0", "--head", "int8", "--json");
        Assert.That(int8.Code, Is.Zero, int8.ToString());
        // A byte a weight of the head instead of two, and a scale of four bytes for its 32 columns counted as for 256.
        double head = 260 * 32;
        Assert.That(int8.Json.GetProperty("bytesPerToken").GetInt64(), Is.EqualTo(flops + (2 * 3 * 32) - (2 * head) + (head * (1 + (4 / 256.0)))).Within(1));
        Assert.That((await Tool.RunAsync("bench", model, "--tokens", "5", "--seconds", "0")).Output, Does.Contain("Decode").And.Contain("tokens/s"));
    }

    private static string[] Keys(JsonElement element) => [.. element.EnumerateObject().Select(member => member.Name)];
}
