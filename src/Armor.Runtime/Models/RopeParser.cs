namespace Armor.Runtime.Models;

/// <summary>What the rotary embedding's keys say.</summary>
/// <param name="Theta">Base of the wavelengths.</param>
/// <param name="Scaling">Their stretch.</param>
/// <param name="LocalTheta">The base of layers with a window, where it is their own.</param>
/// <param name="PartialSize">The rotated elements of a head, where it is not all of them.</param>
internal sealed record RopeSettings(double Theta, RopeScaling? Scaling, double? LocalTheta, int? PartialSize);

/// <summary>
/// The rotary embedding's keys: <c>rope_theta</c> with <c>rope_scaling</c>, or both in <c>rope_parameters</c> as newer tools write them, there
/// for each kind of layer where a family has two.
/// </summary>
internal static class RopeParser
{
    private const string PartialKey = "partial_rotary_factor";
    private const string LocalKey = "rope_local_base_freq";

    public static RopeSettings Read(ConfigurationReader reader, FamilyRules rules, int context, int headSize)
    {
        var isGemma3 = rules.Family == ModelFamily.Gemma3;
        var theta = ReadTheta(reader, rules.Theta);
        double? local = isGemma3 ? reader.Number(LocalKey, 10000, value => value > 0, "a number above 0") : null;
        var partial = ReadPartial(reader, rules, headSize, null);
        var key = reader.Find("rope_parameters") is not null ? "rope_parameters" : "rope_scaling";
        if (reader.Object(key) is not { } nested)
        {
            return new RopeSettings(theta, null, local, partial);
        }

        if (isGemma3 && nested.Object(LayerKinds.Full) is { } global)
        {
            if (nested.Object(LayerKinds.Sliding) is { } sliding)
            {
                local = ReadTheta(sliding, local!.Value);
                if (sliding.Text("rope_type") is { } type and not "default")
                {
                    sliding.Note("rope_type", "\"default\"", $"\"{type}\"");
                }
            }

            nested = global;
        }

        partial = ReadPartial(nested, rules, headSize, partial);
        return new RopeSettings(ReadTheta(nested, theta), ReadScaling(nested, reader, rules, context, partial ?? headSize), local, partial);
    }

    private static double ReadTheta(ConfigurationReader reader, double fallback) =>
        reader.Number("rope_theta", fallback, value => value > 0, "a number above 0");

    private static int? ReadPartial(ConfigurationReader reader, FamilyRules rules, int headSize, int? fallback)
    {
        if (!rules.HasPartialRotation)
        {
            reader.Number(PartialKey, 1, value => value == 1, "1");
            return null;
        }

        if (reader.Find(PartialKey) is null)
        {
            return fallback;
        }

        var expected = $"a number up to 1 that rotates an even number of the head's {headSize} elements";
        var factor = reader.Number(PartialKey, 1, value => value <= 1 && (int)(headSize * value) is > 0 and var size && size % 2 == 0, expected);
        return (int)(headSize * factor) is var rotated && rotated == headSize ? null : rotated;
    }

    private static RopeScaling? ReadScaling(ConfigurationReader reader, ConfigurationReader root, FamilyRules rules, int context, int size)
    {
        // "type" is the older name of "rope_type", "su" of "longrope".
        var key = reader.Find("rope_type") is not null ? "rope_type" : "type";
        var isPhi = rules.Family == ModelFamily.Phi3;
        var known = isPhi ? "\"default\" or \"longrope\"" : "\"default\", \"linear\" or \"llama3\"";
        switch (reader.Text(key))
        {
            case "default":
                return null;
            case "linear" when !isPhi:
                return new RopeScaling(RopeScalingKind.Linear, ReadFactor(reader));
            case "llama3" when !isPhi:
                return ReadLlama3(reader, context);
            case "longrope" or "su" when isPhi:
                return ReadLongRope(reader, root, context, size);
            case null:
                reader.Note("rope_type", known, "nothing");
                return null;
            case var other:
                reader.Note(key, known, $"\"{other}\"");
                return null;
        }
    }

    private static RopeScaling ReadLlama3(ConfigurationReader reader, int context)
    {
        var low = Required(reader, "low_freq_factor", value => value > 0, "a number above 0");
        var high = Required(reader, "high_freq_factor", value => value > low, "a number above low_freq_factor");
        var original = reader.Size("original_max_position_embeddings", int.MaxValue, context > 0 ? context : 1);
        return new RopeScaling(RopeScalingKind.Llama3, ReadFactor(reader), low, high, original);
    }

    private static RopeScaling ReadLongRope(ConfigurationReader reader, ConfigurationReader root, int context, int size)
    {
        // The original context stands beside the scaling in Phi's own files; its class's default is 4096.
        const string Original = "original_max_position_embeddings";
        var original = reader.Size(Original, int.MaxValue, root.Size(Original, int.MaxValue, 4096));
        var ratio = (double)context / Math.Max(original, 1);
        reader.Number("factor", ratio, value => Math.Abs(value - ratio) <= 1e-6 * ratio, $"max_position_embeddings over {Original}, {ratio}");
        var magnitude = RopeScaling.LongRopeMagnitude(ratio, Math.Max(original, 2));
        return new RopeScaling(RopeScalingKind.LongRope, ratio, OriginalContextLength: original)
        {
            ShortFactors = reader.PositiveNumbers("short_factor", size / 2),
            LongFactors = reader.PositiveNumbers("long_factor", size / 2),
            Magnitude = reader.Number("attention_factor", magnitude, value => value > 0, "a number above 0"),
        };
    }

    private static double ReadFactor(ConfigurationReader reader) => Required(reader, "factor", value => value >= 1, "a number of at least 1");

    private static double Required(ConfigurationReader reader, string key, Func<double, bool> isGood, string expected)
    {
        if (reader.Find(key) is null)
        {
            reader.Note(key, expected, "nothing");
        }

        return reader.Number(key, 1, isGood, expected);
    }
}
