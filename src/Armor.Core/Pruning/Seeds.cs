namespace Armor.Core.Pruning;

/// <summary>Derives seeds: the same inputs give the same seed on every machine, and neighbouring inputs unrelated ones (SplitMix64).</summary>
internal static class Seeds
{
    /// <summary>A seed from a seed and a number.</summary>
    public static ulong Mix(ulong seed, ulong value)
    {
        ulong z = seed + (0x9E3779B97F4A7C15UL * (value + 1));
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }

    /// <summary>A seed from a seed and a name, such as a tensor's.</summary>
    public static ulong Mix(ulong seed, string name)
    {
        foreach (char c in name)
        {
            seed = Mix(seed, c);
        }

        return seed;
    }
}
