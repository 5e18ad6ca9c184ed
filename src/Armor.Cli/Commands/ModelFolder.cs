using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
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

    /// <summary>What tells a model's folder from others: a hash of its files' names, sizes and times, which change with it.</summary>
    internal static string Identity(string folder)
    {
        IEnumerable<string> files = new DirectoryInfo(folder).EnumerateFiles().OrderBy(file => file.Name, StringComparer.Ordinal)
            .Select(file => string.Create(CultureInfo.InvariantCulture, $"{file.Name} {file.Length} {file.LastWriteTimeUtc.Ticks}"));
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', files))));
    }
}
