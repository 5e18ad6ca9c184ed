using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Runtime.Models;

namespace Armor.Runtime.Checkpoints;

/// <summary>
/// Weights that a family stores stacked row upon row, such as Phi-3's q, k and v. A folder that is opened shows the parts, which lie one after
/// the other in the file, as tensors of their own; what is written for other loaders has them stacked again.
/// </summary>
internal static class FusedTensors
{
    private const string WeightSuffix = ".weight";

    /// <summary>The fused linears of a folder, by their full names, each with its parts and their rows; none where the family has none.</summary>
    /// <exception cref="CheckpointException"><c>config.json</c> of such a family breaks a rule.</exception>
    public static IEnumerable<(string Name, IReadOnlyList<(string Name, int Rows)> Parts)> Of(string folder)
    {
        if (CheckpointFolderWriter.ReadConfiguration(folder)["model_type"] is not JsonValue type
            || type.GetValueKind() != JsonValueKind.String
            || FamilyRules.Find(type.GetValue<string>())?.Family != ModelFamily.Phi3)
        {
            return [];
        }

        var configuration = ModelConfiguration.Load(folder);
        var rows = ModelShapes.Linears(configuration).ToDictionary(linear => linear.Name, linear => linear.Rows, StringComparer.Ordinal);
        return Enumerable.Range(0, configuration.LayerCount).Select(ModelShapes.LayerPrefix).SelectMany(prefix =>
            ModelShapes.FusedLinears(configuration).Select(fused =>
                (prefix + fused.Name, (IReadOnlyList<(string, int)>)[.. fused.Parts.Select(part => (prefix + part, rows[part]))])));
    }

    /// <summary>Puts parts in the place of fused tensors, in the files as well.</summary>
    /// <param name="folder">For <c>config.json</c>, which is read only where a name is that of a fused tensor.</param>
    /// <param name="fileByTensor">The tensors of the folder.</param>
    /// <exception cref="CheckpointException">A fused tensor has not the shape of its parts, or stands beside one.</exception>
    public static void Split(string folder, Dictionary<string, SafetensorsFile> fileByTensor)
    {
        string[] endings = [".qkv_proj" + WeightSuffix, ".gate_up_proj" + WeightSuffix];
        if (!fileByTensor.Keys.Any(name => endings.Any(ending => name.EndsWith(ending, StringComparison.Ordinal))))
        {
            return;
        }

        foreach (var (linear, parts) in Of(folder))
        {
            var name = linear + WeightSuffix;
            if (!fileByTensor.Remove(name, out var file))
            {
                continue;
            }

            file.SplitRows(name, [.. parts.Select(part => (part.Name + WeightSuffix, (long)part.Rows))]);
            foreach (var (part, _) in parts)
            {
                if (!fileByTensor.TryAdd(part + WeightSuffix, file))
                {
                    throw new CheckpointException(file.Path, "the weight is stored both fused and by itself", part + WeightSuffix, $"only {name}", "both");
                }
            }
        }
    }
}
