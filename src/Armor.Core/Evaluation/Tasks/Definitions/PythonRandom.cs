namespace Armor.Core.Evaluation.Tasks.Definitions;

/// <summary>
/// The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998) with the seeding and the draws of Python's <c>random.Random</c>, by which the harness chooses
/// few-shot examples: the same seed gives the same prompts.
/// </summary>
internal sealed class PythonRandom
{
    private const int Size = 624;
    private const int Middle = 397;

    private readonly uint[] state = new uint[Size];
    private int next = Size;

    /// <param name="seed">From 0 to 2³² − 1.</param>
    public PythonRandom(uint seed)
    {
        state[0] = 19650218;
        for (uint i = 1; i < Size; i++)
        {
            state[i] = (1812433253 * (state[i - 1] ^ (state[i - 1] >> 30))) + i;
        }

        // Seeding by an array of one word, the seed.
        int place = 1;
        for (int i = 0; i < Size; i++)
        {
            state[place] = (state[place] ^ ((state[place - 1] ^ (state[place - 1] >> 30)) * 1664525)) + seed;
            Step(ref place);
        }

        for (int i = 1; i < Size; i++)
        {
            state[place] = (state[place] ^ ((state[place - 1] ^ (state[place - 1] >> 30)) * 1566083941)) - (uint)place;
            Step(ref place);
        }

        state[0] = 0x80000000;
    }

    /// <summary>A number of so many random bits, 1 to 32.</summary>
    public uint Bits(int count)
    {
        if (next == Size)
        {
            Refill();
        }

        uint value = state[next++];
        value ^= value >> 11;
        value ^= (value << 7) & 0x9D2C5680;
        value ^= (value << 15) & 0xEFC60000;
        value ^= value >> 18;
        return value >> (32 - count);
    }

    /// <summary>A number from 0 to <paramref name="count"/> − 1.</summary>
    public int Below(int count)
    {
        int bits = 32 - System.Numerics.BitOperations.LeadingZeroCount((uint)count);
        uint value;
        do
        {
            value = Bits(bits);
        }
        while (value >= count);
        return (int)value;
    }

    /// <summary>Different indices below <paramref name="population"/>, in the order in which <c>random.sample</c> draws them.</summary>
    public int[] Sample(int population, int count)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, population);
        var drawn = new int[count];
        // Above this size Python remembers what it has drawn; below, it removes it from a list.
        double listed = 21 + (count > 5 ? Math.Pow(4, Math.Ceiling(Math.Log(count * 3, 4))) : 0);
        if (population <= listed)
        {
            int[] pool = [.. Enumerable.Range(0, population)];
            for (int i = 0; i < count; i++)
            {
                int place = Below(population - i);
                drawn[i] = pool[place];
                pool[place] = pool[population - i - 1];
            }

            return drawn;
        }

        var seen = new HashSet<int>();
        for (int i = 0; i < count; i++)
        {
            do
            {
                drawn[i] = Below(population);
            }
            while (!seen.Add(drawn[i]));
        }

        return drawn;
    }

    /// <summary>Brings items into the order that <c>random.shuffle</c> would.</summary>
    public void Shuffle<T>(T[] items)
    {
        for (int i = items.Length - 1; i > 0; i--)
        {
            int other = Below(i + 1);
            (items[i], items[other]) = (items[other], items[i]);
        }
    }

    private void Step(ref int place)
    {
        if (++place == Size)
        {
            state[0] = state[Size - 1];
            place = 1;
        }
    }

    private void Refill()
    {
        for (int i = 0; i < Size; i++)
        {
            uint bits = (state[i] & 0x80000000) | (state[(i + 1) % Size] & 0x7FFFFFFF);
            state[i] = state[(i + Middle) % Size] ^ (bits >> 1) ^ ((bits & 1) * 0x9908B0DF);
        }

        next = 0;
    }
}
