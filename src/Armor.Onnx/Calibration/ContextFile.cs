using System.Text.Json;

namespace Armor.Onnx.Calibration;

/// <summary>The context length in a model folder's <c>config.json</c>, of any architecture.</summary>
internal static class ContextFile
{
    private static readonly string[] Keys = ["max_position_embeddings", "n_positions", "n_ctx"];

    /// <summary>The length in tokens; null where there is no such file, or it does not say.</summary>
    public static int? Read(string folder)
    {
        string path = Path.Combine(folder, "config.json");
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllText(path));
            return Keys.Where(key => document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty(key, out JsonElement value)
                    && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int length) && length > 0)
                .Select(key => (int?)document.RootElement.GetProperty(key).GetInt32()).FirstOrDefault();
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
