using System.Text.Json;

namespace Armor.Runtime.Models;

/// <summary>
/// The rotary embedding's keys: <c>rope_theta</c> with <c>rope_scaling</c>, or both in <c>rope_parameters</c> as newer tools write them.
/// </summary>
internal static class RopeParser
{
    private const string KnownTypes = "\"default\", \"linear\" or \"llama3\"";

    public static (double Theta, RopeScaling? Scaling) Read(ConfigurationReader reader, int context)
    {
        var theta = ReadTheta(reader, 10000);
        var key = reader.Find("rope_parameters") is not null ? "rope_parameters" : "rope_scaling";
        if (reader.Find(key) is not { } value)
        {
            return (theta, null);
        }

        if (value.ValueKind != JsonValueKind.Object)
        {
            reader.Note(key, "an object", ConfigurationReader.Show(value));
            return (theta, null);
        }

        var nested = reader.Nested(key, value);
        return (ReadTheta(nested, theta), ReadScaling(nested, context));
    }

    private static double ReadTheta(ConfigurationReader reader, double fallback) =>
        reader.Number("rope_theta", fallback, value => value > 0, "a number above 0");

    private static RopeScaling? ReadScaling(ConfigurationReader reader, int context)
    {
        // "type" is the older name of "rope_type".
        var key = reader.Find("rope_type") is not null ? "rope_type" : "type";
        switch (reader.Text(key))
        {
            case "default":
                return null;
            case "linear":
                return new RopeScaling(RopeScalingKind.Linear, ReadFactor(reader));
            case "llama3":
                return ReadLlama3(reader, context);
            case null:
                reader.Note("rope_type", KnownTypes, "nothing");
                return null;
            case var other:
                reader.Note(key, KnownTypes, $"\"{other}\"");
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
