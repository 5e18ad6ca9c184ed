using System.Text.Json;
using Armor.Cli.Hosting;

namespace Armor.Cli.Tests;

/// <summary>Runs the tool in this process.</summary>
internal static class Tool
{
    public static Task<ToolResult> RunAsync(CancellationToken cancellationToken, params string[] args) => RunAsync(cancellationToken, null, null, args);

    public static async Task<ToolResult> RunAsync(CancellationToken cancellationToken, TextReader? input, Interruption? interruption, string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = await ArmorTool.RunAsync(args, TextWriter.Synchronized(output), TextWriter.Synchronized(error), cancellationToken, input, interruption);
        return new ToolResult(code, output.ToString(), error.ToString());
    }

    public static Task<ToolResult> RunAsync(params string[] args) => RunAsync(CancellationToken.None, args);
}

/// <summary>What a run came to.</summary>
internal sealed record ToolResult(int Code, string Output, string Error)
{
    /// <summary>Standard output as one JSON object; fails where there is anything else.</summary>
    public JsonElement Json => JsonDocument.Parse(Output).RootElement;

    public override string ToString() => $"exit code {Code}\noutput: {Output}\nerror: {Error}";
}
