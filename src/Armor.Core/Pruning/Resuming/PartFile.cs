namespace Armor.Core.Pruning.Resuming;
internal static class PartFile { public const string Extension = ".safetensors"; }
