using Armor.Runtime.Checkpoints;

namespace Armor.Cli.Commands;

/// <summary>How the tool names the types that a model is stored in.</summary>
internal static class StorageTypes
{
    /// <summary>Such as "BFloat16", or "Int8 with BFloat16 wrappers".</summary>
    /// <param name="type">Of the wrappers.</param>
    /// <param name="core">Of the kept values.</param>
    internal static string Describe(TensorElementType type, TensorElementType core) => core == type ? $"{type}" : $"{core} with {type} wrappers";
}
