using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Armor.Runtime.Generation.Sampling;

/// <summary>
/// Finds the highest logits without sorting all. A token is a key whose order is that of sampling: the higher logit first, of equals the first token.
/// </summary>
internal static class TopLogits
{
    /// <summary>The key of a token.</summary>
    public static ulong Key(float logit, int token)
    {
        // Bits of a float count up with it once those of negative ones are turned over; −0 is 0.
        var bits = BitConverter.SingleToUInt32Bits(logit + 0f);
        var ascending = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
        return ((ulong)~ascending << 32) | (uint)token;
    }

    /// <summary>The token of a key.</summary>
    public static int Token(ulong key) => (int)(uint)key;

    /// <summary>The keys of the highest logits, in order.</summary>
    /// <param name="logits">Finite.</param>
    /// <param name="count">How many.</param>
    /// <param name="keys">Room for as many as there are logits; the result is at the start.</param>
    /// <returns>How many there are: count, or all.</returns>
    public static int Select(ReadOnlySpan<float> logits, int count, Span<ulong> keys)
    {
        // Twice as many are gathered before the lower half is thrown away; the lowest of the rest is the threshold from then on.
        var room = (int)Math.Min(2L * count, keys.Length);
        var gathered = 0;
        var threshold = float.NegativeInfinity;
        for (var start = 0; start < logits.Length; start += Vector512<float>.Count)
        {
            var end = Math.Min(start + Vector512<float>.Count, logits.Length);
            if (end - start == Vector512<float>.Count
                && !Vector512.GreaterThanAny(Vector512.LoadUnsafe(in MemoryMarshal.GetReference(logits), (nuint)start), Vector512.Create(threshold)))
            {
                continue;
            }

            for (var token = start; token < end; token++)
            {
                if (logits[token] > threshold)
                {
                    if (gathered == room)
                    {
                        keys[..gathered].Sort();
                        gathered = Math.Min(gathered, count);
                        threshold = logits[Token(keys[gathered - 1])];
                        if (logits[token] <= threshold)
                        {
                            continue;
                        }
                    }

                    keys[gathered++] = Key(logits[token], token);
                }
            }
        }

        keys[..gathered].Sort();
        return Math.Min(gathered, count);
    }
}
