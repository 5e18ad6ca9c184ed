using System.Runtime.InteropServices;
using System.Text.Json;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Factorization;

namespace Armor.Core.Pruning.Resuming;

/// <summary>One finished linear in a workspace: a safetensors file of its three factors as they are stored, and its report in the metadata.</summary>
internal static class PartFile
{
    /// <summary>How the files' names end.</summary>
    public const string Extension = ".safetensors";

    private const string ReportKey = "report";
    private const string PatternKey = "pattern";
    private const string Input = "input_blocks";
    private const string Output = "output_blocks";
    private const string Values = "core_values";
    private const string Scales = "core_scales";
    private const string Mask = "core_mask";

    /// <summary>Writes a part under another name, then renames it.</summary>
    /// <param name="path">The final name.</param>
    /// <param name="layer">Already rounded to <paramref name="type"/>.</param>
    /// <param name="type">The storage type.</param>
    /// <param name="report">How the linear was pruned.</param>
    public static void Write(string path, ArmorLayer layer, TensorElementType type, LinearPruningReport report)
    {
        SparseCore core = layer.Core;
        int maskBytes = (layer.Columns + 7) / 8;
        var tensors = new List<TensorDescription>();
        AddWrapper(Input, layer.InputWrapper);
        AddWrapper(Output, layer.OutputWrapper);
        tensors.Add(new TensorDescription(Values, core.IsQuantised ? TensorElementType.Int8 : type, [layer.Rows, core.RowValueCount]));
        if (core.IsQuantised)
        {
            tensors.Add(new TensorDescription(Scales, TensorElementType.BFloat16, [layer.Rows, core.RowScaleCount]));
        }

        tensors.Add(new TensorDescription(Mask, TensorElementType.UInt8, [layer.Rows, maskBytes]));
        var metadata = new Dictionary<string, string>
        {
            [ReportKey] = JsonSerializer.Serialize(report, ResumingJson.Default.LinearPruningReport),
            [PatternKey] = core.Pattern.ToString(),
        };

        using SafetensorsWriter writer = SafetensorsWriter.Create(path, tensors, metadata);
        WriteWrapper(Input, layer.InputWrapper);
        WriteWrapper(Output, layer.OutputWrapper);
        if (core.IsQuantised)
        {
            writer.Write(Values, MemoryMarshal.AsBytes(core.QuantisedValues.Span));
            writer.WriteFloat32(Scales, core.Scales.Span);
        }
        else
        {
            writer.WriteFloat32(Values, core.Values.Span);
        }

        writer.Write(Mask, core.Mask.Span);
        writer.Commit();

        void AddWrapper(string name, BlockDiagonalMatrix? wrapper)
        {
            if (wrapper is not null)
            {
                tensors.Add(new TensorDescription(name, type, [wrapper.BlockCount, wrapper.BlockSize, wrapper.BlockSize]));
            }
        }

        void WriteWrapper(string name, BlockDiagonalMatrix? wrapper)
        {
            if (wrapper is not null)
            {
                writer.WriteFloat32(name, wrapper.Values.Span);
            }
        }
    }

    /// <summary>Reads a part back, to the last bit.</summary>
    /// <param name="path">Its file.</param>
    /// <exception cref="CheckpointException">Not a whole part.</exception>
    public static (ArmorLayer Layer, LinearPruningReport Report) Read(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        LinearPruningReport report = ReadReport(file);
        if (!file.Metadata.TryGetValue(PatternKey, out string? text) || !SparsityPattern.TryParse(text, out SparsityPattern pattern))
        {
            throw new CheckpointException(path, "not a finished linear; delete the file to prune it again", null, "a pattern N:M in the metadata", text ?? "none");
        }

        byte[] mask = file.GetBytes(Mask).ToArray();
        SparseCore core = file.Tensors.ContainsKey(Scales)
            ? SparseCore.FromQuantised(
                report.Rows, report.Columns, MemoryMarshal.Cast<byte, sbyte>(file.GetBytes(Values)).ToArray(), file.ReadFloat32(Scales), mask, pattern)
            : new SparseCore(report.Rows, report.Columns, file.ReadFloat32(Values), mask, pattern);
        return (new ArmorLayer(ReadWrapper(Output), core, ReadWrapper(Input)), report);

        BlockDiagonalMatrix? ReadWrapper(string name) =>
            file.Tensors.TryGetValue(name, out TensorDescription? tensor)
                ? new BlockDiagonalMatrix(checked((int)tensor.Shape[0]), checked((int)tensor.Shape[1]), file.ReadFloat32(name))
                : null;
    }

    /// <summary>Reads how a finished linear went, and not its factors.</summary>
    /// <param name="path">Its file.</param>
    /// <exception cref="CheckpointException">Not a whole part.</exception>
    public static LinearPruningReport ReadReport(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        return ReadReport(file);
    }

    private static LinearPruningReport ReadReport(SafetensorsFile file)
    {
        LinearPruningReport? report;
        try
        {
            report = file.Metadata.TryGetValue(ReportKey, out string? json)
                ? JsonSerializer.Deserialize(json, ResumingJson.Default.LinearPruningReport)
                : null;
        }
        catch (JsonException exception)
        {
            throw new CheckpointException(file.Path, "the report of a finished linear is not readable", null, "JSON", exception.Message, exception);
        }

        return report
            ?? throw new CheckpointException(file.Path, "not a finished linear; delete the file to prune it again", null, "a report in the metadata", "none");
    }
}
