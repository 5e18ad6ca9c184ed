using System.Text.Json;

namespace Armor.Runtime.Models;

/// <summary>
/// The keys of the sliding window. Mistral, Mixtral and Phi-3: <c>sliding_window</c> in every layer. Qwen: only with
/// <c>use_sliding_window</c>, from layer <c>max_window_layers</c> on (with experts: in every layer). Gemma: in all layers but every second
/// (Gemma 2) or every <c>sliding_window_pattern</c>th (Gemma 3). <c>layer_types</c>, which newer tools write besides, must agree, but for
/// Gemma, where it decides.
/// </summary>
internal static class SlidingWindowParser
{
    public static (int? Window, int FirstLayer, int? FullPeriod) Read(ConfigurationReader reader, ModelFamily family, int layers)
    {
        (int? Window, int FirstLayer, int? FullPeriod) found = family switch
        {
            // The published Mistral class has a window of 4096 unless the file says null.
            ModelFamily.Mistral => (reader.Has("sliding_window") ? Window(reader) : 4096, 0, null),
            ModelFamily.Mixtral or ModelFamily.Phi3 => (Window(reader), 0, null),
            ModelFamily.Qwen2 or ModelFamily.Qwen3 when reader.Flag("use_sliding_window", false) =>
                (Window(reader), (int)reader.Number("max_window_layers", 28, IsLayer, "a whole number of at least 0"), null),
            ModelFamily.Qwen3Moe when reader.Flag("use_sliding_window", false) => (Window(reader), 0, null),
            ModelFamily.Gemma2 or ModelFamily.Gemma3 => ReadGemma(reader, family),
            _ => (null, 0, null),
        };
        if (reader.Find("layer_types") is { } types)
        {
            CheckLayerTypes(reader, types, found, layers);
        }

        return found;
    }

    private static int? Window(ConfigurationReader reader) =>
        reader.Find("sliding_window") is null ? null : reader.Size("sliding_window", int.MaxValue);

    private static bool IsLayer(double value) => value is >= 0 and <= int.MaxValue && value == Math.Floor(value);

    private static (int? Window, int FirstLayer, int? FullPeriod) ReadGemma(ConfigurationReader reader, ModelFamily family)
    {
        // Both classes have a window of 4096 unless the file says null.
        var window = reader.Has("sliding_window") ? Window(reader) : 4096;
        var key = reader.Find("sliding_window_pattern") is not null ? "sliding_window_pattern" : "_sliding_window_pattern";
        var period = family == ModelFamily.Gemma2 ? 2 : reader.Size(key, int.MaxValue, 6);
        if (window is not null && reader.Find("layer_types") is { ValueKind: JsonValueKind.Array } types)
        {
            var firstFull = types.EnumerateArray().TakeWhile(type => type.ValueKind == JsonValueKind.String && type.ValueEquals(LayerKinds.Sliding)).Count();
            period = firstFull < types.GetArrayLength() ? firstFull + 1 : Math.Max(period, firstFull + 1);
        }

        return (window, 0, window is null ? null : period);
    }

    private static void CheckLayerTypes(
        ConfigurationReader reader, JsonElement types, (int? Window, int FirstLayer, int? FullPeriod) found, int layers)
    {
        if (types.ValueKind != JsonValueKind.Array || types.GetArrayLength() != layers)
        {
            reader.Note("layer_types", $"an array of {layers} names", ConfigurationReader.Show(types));
            return;
        }

        var layer = 0;
        foreach (var type in types.EnumerateArray())
        {
            var isSliding = found.Window is not null && layer >= found.FirstLayer && (layer + 1) % (found.FullPeriod ?? int.MaxValue) != 0;
            var expected = isSliding ? LayerKinds.Sliding : LayerKinds.Full;
            if (type.ValueKind != JsonValueKind.String || !type.ValueEquals(expected))
            {
                reader.Note($"layer_types[{layer}]", $"\"{expected}\", as the other keys and layers say", ConfigurationReader.Show(type));
                return;
            }

            layer++;
        }
    }
}
