using System.CommandLine;
using Armor.Cli.Hosting;

namespace Armor.Cli.Commands;

/// <summary>The MODEL argument.</summary>
internal static class ModelFolder
{
    internal static Argument<string> Argument(string kind) => new("MODEL") { Description = $"A model folder in Hugging Face layout: {kind}." };

    /// <summary>The folder, if it exists.</summary>
    /// <exception cref="ToolException">It does not.</exception>
    internal static string Existing(string path) => Directory.Exists(path)
        ? path
        : throw new ToolException(File.Exists(path) ? $"{path}: expected a model folder, found a file." : $"{path}: the model folder does not exist.");
}
