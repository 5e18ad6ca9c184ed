using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Measuring;

/// <summary>In which types a model's parts are held; null for the stored ones.</summary>
internal sealed record HeldTypes(TensorElementType? Head, TensorElementType? Wrappers)
{
    internal static HeldTypes Stored { get; } = new(null, null);
}
