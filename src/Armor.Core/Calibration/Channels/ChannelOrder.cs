using static TorchSharp.torch;

namespace Armor.Core.Calibration.Channels;

/// <summary>
/// An order of an MLP's inner channels – rows of gate and up, columns of down – in which like channels share a block of the wrappers. The MLP's function is
/// the same in every order, but of like channels the wrappers can make several of one.
/// </summary>
internal static class ChannelOrder
{
    /// <summary>
    /// Fills block after block: first the strongest channel that is left, then, one by one, that which is most like those in the block. Ties go to the lower
    /// index.
    /// </summary>
    /// <param name="gate">float32 [channels, hidden].</param>
    /// <param name="up">float32 [channels, hidden].</param>
    /// <param name="down">float32 [hidden, channels].</param>
    /// <param name="block">The channels of a block.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    /// <returns>The channel at each place.</returns>
    public static long[] Find(Tensor gate, Tensor up, Tensor down, int block, CancellationToken cancellationToken)
    {
        using ChannelSimilarity similarity = ChannelSimilarity.Measure(gate, up, down, cancellationToken);
        return Fill(similarity, block);
    }

    /// <summary>The order that channels of known similarity get.</summary>
    public static long[] Fill(ChannelSimilarity similarity, int block)
    {
        double[] strengths = similarity.Strengths.ToArray();
        var order = new long[strengths.Length];
        List<int> left = [.. Enumerable.Range(0, strengths.Length)];
        int[] byStrength = [.. left.OrderByDescending(channel => strengths[channel])];
        int next = 0;
        var taken = new bool[strengths.Length];
        var likeness = new int[strengths.Length];
        for (int place = 0; place < order.Length; place++)
        {
            int chosen;
            if (place % block == 0)
            {
                while (taken[byStrength[next]])
                {
                    next++;
                }

                chosen = byStrength[next];
                left.RemoveAll(channel => taken[channel]);
                Array.Clear(likeness);
            }
            else
            {
                chosen = AddAndFindMost(left, taken, likeness, similarity.Of((int)order[place - 1]));
            }

            taken[chosen] = true;
            order[place] = chosen;
        }

        return order;
    }

    private static int AddAndFindMost(List<int> left, bool[] taken, int[] likeness, ReadOnlySpan<short> similarities)
    {
        int most = -1;
        foreach (int channel in left)
        {
            likeness[channel] += similarities[channel];
            if (!taken[channel] && (most < 0 || likeness[channel] > likeness[most]))
            {
                most = channel;
            }
        }

        return most;
    }
}
