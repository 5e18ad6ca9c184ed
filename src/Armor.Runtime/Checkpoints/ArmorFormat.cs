using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Runtime.Factorization;

namespace Armor.Runtime.Checkpoints;

/// <summary>Names and settings of the ARMOR checkpoint: of version 1, or of version 2 where the cores are quantised.</summary>
/// <param name="ElementType">The stored type of wrappers and, in version 1, of kept values.</param>
/// <param name="SourceElementType">The type in which the dense linears were stored.</param>
/// <param name="Pattern">The N:M pattern of every core.</param>
/// <param name="IsQuantised">Whether every core is quantised: I8 values with scales.</param>
internal sealed record ArmorFormat(TensorElementType ElementType, TensorElementType SourceElementType, SparsityPattern Pattern, bool IsQuantised)
{
    public const string ConfigurationKey = "armor";
    public const string CoreValues = ".armor.core_values";
    public const string CoreScales = ".armor.core_scales";
    public const string CoreMask = ".armor.core_mask";
    public const string InputBlocks = ".armor.input_blocks";
    public const string OutputBlocks = ".armor.output_blocks";

    private const string CoreTypeKey = "core_element_type";
    private const string Nothing = "nothing";
    private const string Checksum = "crc32c";
    private const string ChecksumPrefix = Checksum + "/";

    /// <summary>What separates a linear's name from the factor's: every tensor of a pruned linear has it in its name.</summary>
    public const string Infix = ".armor.";

    /// <summary>The stored type of kept values.</summary>
    public TensorElementType CoreType => IsQuantised ? TensorElementType.Int8 : ElementType;

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

    public JsonObject ToJson()
    {
        var json = new JsonObject
        {
            ["version"] = IsQuantised ? 2 : 1,
            ["pattern"] = Pattern.ToString(),
            ["element_type"] = ElementType.SafetensorsName(),
            ["source_element_type"] = SourceElementType.SafetensorsName(),
            ["checksum"] = Checksum,
        };
        if (IsQuantised)
        {
            json.Add(CoreTypeKey, CoreType.SafetensorsName());
        }

        return json;
    }

    /// <summary>A core's tensors.</summary>
    /// <param name="linear">The linear's name.</param>
    /// <param name="rows">d_out.</param>
    /// <param name="columns">d_in.</param>
    public TensorDescription Values(string linear, int rows, int columns) => new(linear + CoreValues, CoreType, [rows, Pattern.KeptOf(columns)]);

    /// <inheritdoc cref="Values"/>
    public static TensorDescription Mask(string linear, int rows, int columns) => new(linear + CoreMask, TensorElementType.UInt8, [rows, SparseCore.MaskRowBytes(columns)]);

    /// <inheritdoc cref="Values"/>
    public TensorDescription Scales(string linear, int rows, int columns) => new(linear + CoreScales, Int8Values.ScaleType, [rows, Int8Values.ScalesOf(columns, Pattern)]);

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

            var version = Require("version", "1", "2");
            Require("checksum", $"\"{Checksum}\"");

            // A reader of version 1 alone must refuse quantised cores, and so they are not told by their tensors' types.
            Require(CoreTypeKey, version == "2" ? $"\"{TensorElementType.Int8.SafetensorsName()}\"" : Nothing);
            return new ArmorFormat(Type("element_type"), Type("source_element_type"), ReadPattern(), version == "2");

            string Require(string key, params string[] expected)
            {
                var found = armor.TryGetProperty(key, out var value) ? Json.Describe(value) : Nothing;
                return expected.Contains(found)
                    ? found
                    : throw new CheckpointException(configurationFile, $"the {key} of the ARMOR format is unknown", null, string.Join(" or ", expected), found);
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
                var found = armor.TryGetProperty(key, out var value) ? Json.Describe(value) : Nothing;
                return TensorElementTypes.TryParseSafetensorsName(found.Trim('"'), out var type) && type.ConvertsToFloat32()
                    ? type
                    : throw new CheckpointException(configurationFile, $"the {key} of the ARMOR format is unknown", null, "F32, F16, BF16 or F64", found);
            }
        });
    }
}
