using Armor.Core.Modules;
using Armor.Runtime.Models;

namespace Armor.Core.Recovery;

/// <summary>Puts factors under training in the place of a decoder layer's weights.</summary>
internal static class TrainableLayer
{
    /// <summary>Replaces the product of each linear of the layer that is among the factors.</summary>
    public static void Install(DecoderLayer layer, TrainableFactors factors)
    {
        string prefix = ModelShapes.LayerPrefix(layer.Index);
        foreach (LinearDescription description in layer.Linears)
        {
            if (factors.Linears.FirstOrDefault(linear => linear.Name == prefix + description.Name) is { } linear)
            {
                layer.ReplaceLinear(description.Name, linear.Forward);
            }
        }
    }
}
