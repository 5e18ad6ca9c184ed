namespace Armor.Runtime.Models;

/// <summary>The names of <c>layer_types</c>.</summary>
internal static class LayerKinds
{
    public const string Sliding = "sliding_attention";
    public const string Full = "full_attention";
}
