using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Armor.Core.Calibration;
using Armor.Runtime.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Recovery;

/// <summary>Where a training stands, but for its tensors.</summary>
internal sealed record TrainingPosition
{
    /// <summary>Steps made.</summary>
    public int Step { get; set; }

    /// <summary>Steps of the optimiser since its moments were zero.</summary>
    public int OptimizerSteps { get; set; }

    /// <summary>The measurement before the first step.</summary>
    public double Start { get; set; }

    /// <summary>The best measurement.</summary>
    public double Best { get; set; }

    /// <summary>The latest measurement.</summary>
    public double Latest { get; set; }

    /// <summary>The lowest measurement after the start.</summary>
    public double Lowest { get; set; } = double.PositiveInfinity;

    /// <summary>Measurements since the lowest one.</summary>
    public int SinceLowest { get; set; }

    /// <summary>What rates are multiplied by.</summary>
    public double RateFactor { get; set; } = 1;

    /// <summary>How often a loss was not finite.</summary>
    public int Restarts { get; set; }

    /// <summary>For the report.</summary>
    public List<string> Notes { get; init; } = [];
}

/// <summary>A training's state as a safetensors file: parameters, moments, the best parameters, and the position in the metadata.</summary>
internal static class TrainingFile
{
    private const string PositionKey = "position";
    private const string ReportKey = "report";

    /// <summary>Writes the state under another name, then renames it.</summary>
    public static void Write(string path, Tensor values, AdamW optimizer, Tensor best, TrainingPosition position)
    {
        position.OptimizerSteps = optimizer.Steps;
        Write(path, position, Buffers(values, optimizer, best));
    }

    /// <summary>Reads a state into tensors of the same sizes.</summary>
    /// <exception cref="CheckpointException">Not such a state.</exception>
    public static TrainingPosition Read(string path, Tensor values, AdamW optimizer, Tensor best)
    {
        TrainingPosition position = Read(path, Buffers(values, optimizer, best));
        optimizer.Steps = position.OptimizerSteps;
        return position;
    }

    /// <summary>Writes buffers and a position under another name, then renames the file.</summary>
    public static void Write(string path, TrainingPosition position, params (string Name, Tensor Values)[] buffers)
    {
        using SafetensorsWriter writer = SafetensorsWriter.Create(
            path, [.. buffers.Select(buffer => new TensorDescription(buffer.Name, TensorElementType.Float32, [buffer.Values.numel()]))],
            new Dictionary<string, string> { [PositionKey] = JsonSerializer.Serialize(position, RecoveryJson.Default.TrainingPosition) });
        foreach ((string name, Tensor values) in buffers)
        {
            foreach ((long first, int count) in TensorMemory.Pieces(values.numel()))
            {
                writer.WriteFloat32(name, TensorMemory.Floats(values, first, count));
            }
        }

        writer.Commit();
    }

    /// <summary>Reads buffers back, to the last bit.</summary>
    /// <returns>The position.</returns>
    /// <exception cref="CheckpointException">A buffer is missing or of another size.</exception>
    public static TrainingPosition Read(string path, params (string Name, Tensor Values)[] buffers)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        foreach ((string name, Tensor values) in buffers)
        {
            TensorDescription found = file.GetTensor(name);
            var expected = new TensorDescription(name, TensorElementType.Float32, [values.numel()]);
            if (!found.Equals(expected))
            {
                throw new CheckpointException(path, "the state of another recovery", name, expected.ToString(), found.ToString());
            }

            foreach ((long first, int count) in TensorMemory.Pieces(values.numel()))
            {
                file.ReadFloat32(name, first, TensorMemory.Floats(values, first, count));
            }
        }

        return Parse(path, file.Metadata, PositionKey, RecoveryJson.Default.TrainingPosition);
    }

    /// <summary>Writes a finished run's report, in case the run is killed before its clean-up.</summary>
    public static void WriteReport(string path, RecoveryReport report)
    {
        using SafetensorsWriter writer = SafetensorsWriter.Create(
            path, [], new Dictionary<string, string> { [ReportKey] = JsonSerializer.Serialize(report, RecoveryJson.Default.RecoveryReport) });
        writer.Commit();
    }

    /// <summary>Reads a finished run's report.</summary>
    /// <exception cref="CheckpointException">Not one.</exception>
    public static RecoveryReport ReadReport(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        return Parse(path, file.Metadata, ReportKey, RecoveryJson.Default.RecoveryReport);
    }

    private static (string Name, Tensor Values)[] Buffers(Tensor values, AdamW optimizer, Tensor best) =>
        [("values", values), ("first", optimizer.First), ("second", optimizer.Second), ("best", best)];

    private static T Parse<T>(string path, IReadOnlyDictionary<string, string> metadata, string key, JsonTypeInfo<T> type)
        where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(metadata.GetValueOrDefault(key, "null"), type)
                ?? throw new CheckpointException(path, "not the state of a recovery", null, $"a {key} in the metadata", "none");
        }
        catch (JsonException exception)
        {
            throw new CheckpointException(path, "the state of a recovery is not readable", null, "JSON", exception.Message, exception);
        }
    }
}

/// <summary>Serialisers of a recovery's state. Numbers come back to the last bit.</summary>
[JsonSourceGenerationOptions(NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(TrainingPosition))]
[JsonSerializable(typeof(RecoveryReport))]
internal sealed partial class RecoveryJson : JsonSerializerContext;
