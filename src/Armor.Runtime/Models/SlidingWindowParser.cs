using System.Text.Json;

namespace Armor.Runtime.Models;

/// <summary>
/// The keys of the sliding window. Mistral: <c>sliding_window</c> in every layer. Qwen: only with <c>use_sliding_window</c>, from layer
/// <c>max_window_layers</c> on; <c>layer_types</c>, which newer tools write besides, must agree.
/// </summary>
internal static class SlidingWindowParser
{
    private const string Sliding = "sliding_attention";
    private const string Full = "full_attention";

    public static (int? Window, int FirstLayer) Read(ConfigurationReader reader, ModelFamily family, int layers)
    {
        var (window, first) = family switch
        {
            // The published Mistral class has a window of 4096 unless the file says null.
            ModelFamily.Mistral => (reader.Has("sliding_window") ? Window(reader) : 4096, 0),
            ModelFamily.Qwen2 or ModelFamily.Qwen3 when reader.Flag("use_sliding_window", false) =>
                (Window(reader), (int)reader.Number("max_window_layers", 28, IsLayer, "a whole number of at least 0")),
            _ => ((int?)null, 0),
        };
        if (reader.Find("layer_types") is { } types)
        {
            CheckLayerTypes(reader, types, window, first, layers);
        }

        return (window, first);
    }

    private static int? Window(ConfigurationReader reader) =>
        reader.Find("sliding_window") is null ? null : reader.Size("sliding_window", int.MaxValue);

    private static bool IsLayer(double value) => value is >= 0 and <= int.MaxValue && value == Math.Floor(value);

    private static void CheckLayerTypes(ConfigurationReader reader, JsonElement types, int? window, int first, int layers)
    {
        if (types.ValueKind != JsonValueKind.Array || types.GetArrayLength() != layers)
        {
            reader.Note("layer_types", $"an array of {layers} names", ConfigurationReader.Show(types));
            return;
        }

        var layer = 0;
        foreach (var type in types.EnumerateArray())
        {
            var expected = window is not null && layer >= first ? Sliding : Full;
            if (type.ValueKind != JsonValueKind.String || !type.ValueEquals(expected))
            {
                reader.Note($"layer_types[{layer}]", $"\"{expected}\", as the other keys say", ConfigurationReader.Show(type));
                return;
            }

            layer++;
        }
    }
}
