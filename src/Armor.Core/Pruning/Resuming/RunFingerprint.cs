using System.Buffers.Binary;
using System.Reflection;
using System.Security.Cryptography;

namespace Armor.Core.Pruning.Resuming;

/// <summary>
/// All that a run's output depends on, as name → text. A run may go on only where an earlier one of the same fingerprint stopped.
/// </summary>
internal static class RunFingerprint
{
    private const int ChunkSize = 1 << 20;

    /// <summary>The fingerprint of one run.</summary>
    /// <param name="modelFolder">The dense model; its configuration and weights are hashed whole.</param>
    /// <param name="sequences">The calibration tokens.</param>
    /// <param name="options">Every option that the output depends on.</param>
    /// <param name="cancellationToken">Stops the hashing.</param>
    public static SortedDictionary<string, string> Compute(
        string modelFolder,
        IReadOnlyList<int[]> sequences,
        IEnumerable<KeyValuePair<string, string>> options,
        CancellationToken cancellationToken)
    {
        var fingerprint = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["library"] = typeof(RunFingerprint).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown",
            ["calibration"] = HashSequences(sequences),
        };
        foreach ((string name, string value) in options)
        {
            fingerprint.Add("option " + name, value);
        }

        foreach (string file in ModelFiles(modelFolder))
        {
            fingerprint["file " + Path.GetFileName(file)] = HashFile(file, cancellationToken);
        }

        return fingerprint;
    }

    /// <summary>What differs between two fingerprints, one line each; empty where they are equal.</summary>
    /// <param name="earlier">The fingerprint of the run that stopped.</param>
    /// <param name="now">The fingerprint of the run that wants to go on.</param>
    public static IReadOnlyList<string> Differences(IReadOnlyDictionary<string, string> earlier, IReadOnlyDictionary<string, string> now) =>
        [.. earlier.Keys.Union(now.Keys).Order(StringComparer.Ordinal)
            .Select(key => (key, was: earlier.GetValueOrDefault(key, "absent"), now: now.GetValueOrDefault(key, "absent")))
            .Where(entry => entry.was != entry.now)
            .Select(entry => $"{entry.key}: was {entry.was}, is {entry.now}")];

    private static IEnumerable<string> ModelFiles(string folder) =>
        Directory.EnumerateFiles(folder)
            .Where(file => Path.GetFileName(file) is "config.json" or "model.safetensors.index.json"
                || file.EndsWith(".safetensors", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal);

    private static string HashFile(string path, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1, FileOptions.SequentialScan);
        var buffer = new byte[ChunkSize];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            hash.AppendData(buffer, 0, read);
        }

        return $"{stream.Length} bytes, {Convert.ToHexStringLower(hash.GetHashAndReset())}";
    }

    private static string HashSequences(IReadOnlyList<int[]> sequences)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var number = new byte[sizeof(int)];
        foreach (int[] sequence in sequences)
        {
            Append(sequence.Length);
            foreach (int token in sequence)
            {
                Append(token);
            }
        }

        return $"{sequences.Count} sequences, {sequences.Sum(sequence => (long)sequence.Length)} tokens, {Convert.ToHexStringLower(hash.GetHashAndReset())}";

        void Append(int value)
        {
            BinaryPrimitives.WriteInt32LittleEndian(number, value);
            hash.AppendData(number);
        }
    }
}
