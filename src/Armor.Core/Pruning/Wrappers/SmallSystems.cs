using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.Wrappers;

/// <summary>Batches of small systems of equations.</summary>
/// <remarks>
/// libtorch 2.10 factorises a batch on several threads at once, and from about 160 rows on (144 are right) the factors of such a batch are wrong on the CPU:
/// residuals of 1e+20 and more, or pivots of 0. Larger systems are therefore solved one by one, each on all threads.
/// </remarks>
internal static class SmallSystems
{
    /// <summary>The most rows that go as a batch on the CPU.</summary>
    internal const int LargestBatched = 128;

    /// <summary>The X of G·X = C, [n, b, b] and [n, b, m].</summary>
    public static Tensor Solve(Tensor systems, Tensor right)
    {
        if (IsRightAsBatch(systems))
        {
            return linalg.solve(systems, right);
        }

        using var scope = NewDisposeScope();
        return stack([.. Enumerable.Range(0, (int)systems.shape[0]).Select(i => linalg.solve(systems.select(0, i), right.select(0, i)))])
            .MoveToOuterDisposeScope();
    }

    /// <summary>G⁻¹, [n, b, b].</summary>
    public static Tensor Inverse(Tensor systems)
    {
        if (IsRightAsBatch(systems))
        {
            return linalg.inv(systems);
        }

        using var scope = NewDisposeScope();
        return stack([.. Enumerable.Range(0, (int)systems.shape[0]).Select(i => linalg.inv(systems.select(0, i)))]).MoveToOuterDisposeScope();
    }

    private static bool IsRightAsBatch(Tensor systems) => systems.shape[1] <= LargestBatched || systems.device_type != DeviceType.CPU;
}
