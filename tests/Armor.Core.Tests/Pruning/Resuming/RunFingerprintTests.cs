using Armor.Core.Pruning.Resuming;

namespace Armor.Core.Tests.Pruning.Resuming;

public class RunFingerprintTests
{
    [Test]
    public void EveryInputHasItsOwnLine()
    {
        using var folder = new TemporaryFolder();
        TinyLlama.Write(folder.Path);
        SortedDictionary<string, string> first = Compute(folder.Path, [[1, 2], [3]], "fast");
        Assert.That(RunFingerprint.Differences(first, Compute(folder.Path, [[1, 2], [3]], "fast")), Is.Empty);

        AssertOneDifference(first, Compute(folder.Path, [[1, 2], [3]], "slow"), "option preset: was fast, is slow");
        AssertOneDifference(first, Compute(folder.Path, [[1], [2, 3]], "fast"), "calibration: was 2 sequences, 3 tokens");

        using (FileStream weights = File.OpenWrite(folder.File("model.safetensors")))
        {
            weights.Position = weights.Length - 5;
            weights.WriteByte(77);
        }

        AssertOneDifference(first, Compute(folder.Path, [[1, 2], [3]], "fast"), "file model.safetensors: was ");
        TinyLlama.Write(folder.Path);
        File.AppendAllText(folder.File("config.json"), " ");
        AssertOneDifference(first, Compute(folder.Path, [[1, 2], [3]], "fast"), "file config.json: was ");
        File.Copy(folder.File("model.safetensors"), folder.File("more.safetensors"));
        Assert.That(
            RunFingerprint.Differences(first, Compute(folder.Path, [[1, 2], [3]], "fast")),
            Has.One.StartsWith("file more.safetensors: was absent, is "));
    }

    private static SortedDictionary<string, string> Compute(string model, int[][] sequences, string options) =>
        RunFingerprint.Compute(model, sequences, [new("preset", options)], CancellationToken.None);

    private static void AssertOneDifference(SortedDictionary<string, string> earlier, SortedDictionary<string, string> now, string start) =>
        Assert.That(RunFingerprint.Differences(earlier, now), Has.Count.EqualTo(1).And.One.StartsWith(start));
}
