using System.Globalization;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;

namespace Armor.Core.Recovery;

/// <summary>Whether a pruned model and a dense one can belong together.</summary>
internal static class ModelPair
{
    /// <summary>Compares configurations and the shapes of all tensors.</summary>
    /// <exception cref="CheckpointException">Names the first difference.</exception>
    public static void RequireSame(ArmorCheckpoint pruned, CheckpointFolder dense)
    {
        ModelConfiguration found = pruned.Base.Configuration;
        ModelConfiguration expected = dense.Configuration;
        Require("model family", expected.Family, found.Family);
        Require("vocabulary size", expected.VocabularySize, found.VocabularySize);
        Require("number of layers", expected.LayerCount, found.LayerCount);
        Require("number of heads", expected.AttentionHeadCount, found.AttentionHeadCount);
        Require("head size", expected.HeadSize, found.HeadSize);
        Require("rotary base", expected.RopeTheta, found.RopeTheta);
        var shapes = ModelShapes.Enumerate(found).ToDictionary(shape => shape.Name, StringComparer.Ordinal);
        foreach (TensorShape shape in ModelShapes.Enumerate(expected))
        {
            Require($"shape of {shape.Name}", Text(shape), shapes.TryGetValue(shape.Name, out TensorShape? other) ? Text(other) : "no such tensor");
        }

        void Require<T>(string what, T wanted, T actual)
        {
            if (!EqualityComparer<T>.Default.Equals(wanted, actual))
            {
                throw new CheckpointException(
                    pruned.Base.Folder,
                    $"the model was not pruned from {dense.Folder}: the {what} differs",
                    null,
                    Convert.ToString(wanted, CultureInfo.InvariantCulture),
                    Convert.ToString(actual, CultureInfo.InvariantCulture));
            }
        }
    }

    private static string Text(TensorShape shape) => $"[{string.Join(", ", shape.Shape)}]";
}
