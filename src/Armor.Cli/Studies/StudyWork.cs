using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Armor.Cli.Studies;

/// <summary>The finished runs of studies: a line a run in a file, so that a study goes on where it stopped and one with more settings takes over those it shares.</summary>
internal sealed class StudyWork : IDisposable
{
    private readonly Dictionary<string, StudyMeasurement> kept = new(StringComparer.Ordinal);
    private readonly StreamWriter? writer;
    private readonly byte[] common;

    /// <summary>Reads what former runs kept.</summary>
    /// <param name="folder">Where they are kept; null to keep none.</param>
    /// <param name="model">What tells the dense model from others.</param>
    /// <param name="evaluation">The sequences to measure on.</param>
    internal StudyWork(string? folder, string model, IReadOnlyList<int[]> evaluation)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes(model));
        foreach (int[] sequence in evaluation)
        {
            hash.AppendData(BitConverter.GetBytes(sequence.Length));
            hash.AppendData(MemoryMarshal.AsBytes(sequence.AsSpan()));
        }

        common = hash.GetHashAndReset();
        if (folder is null)
        {
            return;
        }

        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, "runs.jsonl");
        if (File.Exists(path))
        {
            foreach (Line line in File.ReadLines(path).Select(Parse).OfType<Line>())
            {
                kept[line.Key] = line.Measurement;
            }
        }

        // Written anew, so that a line which an interruption cut short does not stay before others.
        File.WriteAllLines(path + ".partial", kept.Select(each => Write(each.Key, each.Value)));
        File.Move(path + ".partial", path, overwrite: true);
        writer = new StreamWriter(path, append: true) { AutoFlush = true };
    }

    /// <summary>What a run came to before; null where it has not been made.</summary>
    internal StudyMeasurement? Find(StudyVariant variant) => kept.GetValueOrDefault(Key(variant));

    /// <summary>Notes what a run came to.</summary>
    internal void Keep(StudyVariant variant, StudyMeasurement measurement) => writer?.WriteLine(Write(Key(variant), measurement));

    public void Dispose() => writer?.Dispose();

    /// <summary>Of everything that a run's result depends on.</summary>
    private string Key(StudyVariant variant)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(common);
        hash.AppendData(JsonSerializer.SerializeToUtf8Bytes(variant.Options));
        foreach (string text in variant.Texts)
        {
            hash.AppendData(BitConverter.GetBytes(text.Length));
            hash.AppendData(MemoryMarshal.AsBytes(text.AsSpan()));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private static string Write(string key, StudyMeasurement measurement) => JsonSerializer.Serialize(new Line(key, measurement));

    private static Line? Parse(string text)
    {
        try
        {
            return JsonSerializer.Deserialize<Line>(text) is { Key: not null, Measurement: not null } line ? line : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private sealed record Line(string Key, StudyMeasurement Measurement);
}
