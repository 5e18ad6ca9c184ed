using Armor.Core.Pruning;

namespace Armor.Core.Recovery;

/// <summary>Which sequences a step trains on: every epoch in an order of its own, which depends on seed and epoch alone.</summary>
internal sealed class TrainingOrder(int count, int perStep, long seed)
{
    private int epoch = -1;
    private int[] order = [];

    /// <summary>The indices of a step's sequences.</summary>
    /// <param name="step">From 0; any order of calls gives the same.</param>
    public int[] At(int step)
    {
        int size = Math.Min(perStep, count);
        int stepsPerEpoch = count / size;
        int wanted = step / stepsPerEpoch;
        if (wanted != epoch)
        {
            order = [.. Enumerable.Range(0, count).OrderBy(index => Seeds.Mix(Seeds.Mix((ulong)seed, (ulong)wanted), (ulong)index))];
            epoch = wanted;
        }

        int place = step % stepsPerEpoch * size;
        return order[place..(place + size)];
    }
}
