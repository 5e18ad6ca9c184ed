using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Checkpoints;

/// <summary>Names and settings of the ARMOR checkpoint, version 1.</summary>
/// <param name="ElementType">The stored type of wrappers and kept values.</param>
/// <param name="SourceElementType">The type in which the dense linears were stored.</param>
/// <param name="Pattern">The N:M pattern of every core.</param>
internal sealed record ArmorFormat(TensorElementType ElementType, TensorElementType SourceElementType, SparsityPattern Pattern)
{
    public const string ConfigurationKey = "armor";
    public const string CoreValues = ".armor.core_values";
    public const string CoreMask = ".armor.core_mask";
    public const string InputBlocks = ".armor.input_blocks";
    public const string OutputBlocks = ".armor.output_blocks";

    private const int Version = 1;
    private const string Checksum = "crc32c";
    private const string ChecksumPrefix = Checksum + "/";

    /// <summary>What separates a linear's name from the factor's: every tensor of a pruned linear has it in its name.</summary>
    public const string Infix = ".armor.";

    public static bool CanStore(TensorElementType type)
        => type is TensorElementType.Float32 or TensorElementType.Float16 or TensorElementType.BFloat16;

    public static KeyValuePair<string, string> ChecksumEntry(string tensor, uint checksum)
        => new(ChecksumPrefix + tensor, checksum.ToString("x8", CultureInfo.InvariantCulture));

    /// <summary>The tensor and the checksum of an entry of the metadata; false for entries of another kind.</summary>
    public static bool TryParseChecksum(string file, KeyValuePair<string, string> entry, out string tensor, out uint checksum)
    {
        tensor = "";
        checksum = 0;
        if (!entry.Key.StartsWith(ChecksumPrefix, StringComparison.Ordinal))
        {
            return false;
        }

        tensor = entry.Key[ChecksumPrefix.Length..];
        return entry.Value.Length == 8 && uint.TryParse(entry.Value, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out checksum)
            ? true
            : throw new CheckpointException(file, "the checksum is not a CRC-32C", tensor, "eight hexadecimal digits", entry.Value);
    }

    public JsonObject ToJson() => new()
    {
        ["version"] = Version,
        ["pattern"] = Pattern.ToString(),
        ["element_type"] = ElementType.SafetensorsName(),
        ["source_element_type"] = SourceElementType.SafetensorsName(),
        ["checksum"] = Checksum,
    };

    /// <summary>Reads the settings out of a <c>config.json</c>; null if it has none.</summary>
    public static ArmorFormat? Read(string configurationFile)
    {
        return Json.ReadObject(configurationFile, "the configuration", Json.ReadFile(configurationFile), root =>
        {
            if (!root.TryGetProperty(ConfigurationKey, out var armor))
            {
                return null;
            }

            if (armor.ValueKind != JsonValueKind.Object)
            {
                throw new CheckpointException(configurationFile, "\"armor\" is not an object", null, "an object", Json.Describe(armor));
            }

            Require("version", Version.ToString(CultureInfo.InvariantCulture));
            Require("checksum", $"\"{Checksum}\"");
            return new ArmorFormat(Type("element_type"), Type("source_element_type"), ReadPattern());

            void Require(string key, string expected)
            {
                var found = armor.TryGetProperty(key, out var value) ? Json.Describe(value) : "nothing";
                if (found != expected)
                {
                    throw new CheckpointException(configurationFile, $"the {key} of the ARMOR format is unknown", null, expected, found);
                }
            }

            // Absent: 2:4, before there were others.
            SparsityPattern ReadPattern()
            {
                if (!armor.TryGetProperty("pattern", out var value))
                {
                    return SparsityPattern.TwoFour;
                }

                return value.ValueKind == JsonValueKind.String && SparsityPattern.TryParse(value.GetString(), out var pattern)
                    ? pattern
                    : throw new CheckpointException(
                        configurationFile,
                        "the pattern of the ARMOR format is unknown",
                        null,
                        $"\"N:M\" with 1 ≤ N < M ≤ {SparsityPattern.LargestGroup}",
                        Json.Describe(value));
            }

            TensorElementType Type(string key)
            {
                var found = armor.TryGetProperty(key, out var value) ? Json.Describe(value) : "nothing";
                return TensorElementTypes.TryParseSafetensorsName(found.Trim('"'), out var type) && type.ConvertsToFloat32()
                    ? type
                    : throw new CheckpointException(configurationFile, $"the {key} of the ARMOR format is unknown", null, "F32, F16, BF16 or F64", found);
            }
        });
    }
}
