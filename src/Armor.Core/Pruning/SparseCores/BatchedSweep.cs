using Armor.Runtime.Factorization;
using TorchSharp;
using static TorchSharp.torch;

namespace Armor.Core.Pruning.SparseCores;

/// <summary>
/// The exact sweep as tensor operations, for tensors that do not live on the CPU: rows and groups of four one after another, all blocks of A and all
/// strips of columns at once. The same result as <see cref="SweepKernel{TVector,TLanes}"/> up to rounding, and under noise another random sequence.
/// </summary>
internal static class BatchedSweep
{
    private const double DeadRow = 1e-12;

    /// <summary>Only 2:4 is known off the CPU.</summary>
    /// <exception cref="NotSupportedException">Another pattern.</exception>
    public static void Check(SparsityPattern pattern)
    {
        if (pattern != SparsityPattern.TwoFour)
        {
            throw new NotSupportedException($"Off the CPU the exact sweep knows 2:4 only; found {pattern}.");
        }
    }

    /// <summary>Sweeps neighbouring strips.</summary>
    /// <param name="context">Seed and noise.</param>
    /// <param name="residual">G = Aᵀ·(E·H)·Bᵀ [d_out, strips · width].</param>
    /// <param name="gram">P = AᵀA [d_out/b_A, b_A, b_A]; <see langword="null"/> for the identity.</param>
    /// <param name="q">Q = B·H·Bᵀ [strips, width, width].</param>
    /// <param name="core">S of the strips [d_out, strips · width].</param>
    /// <returns>The new S.</returns>
    public static Tensor Sweep(StepContext context, Tensor residual, Tensor? gram, Tensor q, Tensor core)
    {
        using var scope = NewDisposeScope();
        long strips = q.shape[0];
        long width = q.shape[1];
        long b = gram?.shape[1] ?? 1;
        long blocks = core.shape[0] / b;
        Tensor g = Rows(residual).clone();
        Tensor s = Rows(core).clone();
        Tensor diagonal = gram is null ? ones_like(core.narrow(1, 0, 1)) : gram.diagonal(dim1: 1, dim2: 2);
        Tensor alive = diagonal > diagonal.amax([1], keepdim: true).Times(DeadRow);
        Tensor inverse = where(alive, diagonal.reciprocal(), zeros_like(diagonal));
        Tensor coefficients = Coefficients(q);
        using Generator? generator = context.Noise.Relative > 0 ? new Generator(context.Seed, core.device) : null;
        var masks = new Masks(core.device);
        for (long r = 0; r < b; r++)
        {
            context.CancellationToken.ThrowIfCancellationRequested();
            using var rowScope = NewDisposeScope();
            Tensor scale = inverse.narrow(1, r, 1).unsqueeze(2);
            Tensor usable = alive.narrow(1, r, 1).unsqueeze(2);
            Tensor change = zeros_like(g[0]);
            for (long c = 0; c < width; c += 4)
            {
                using var groupScope = NewDisposeScope();
                Tensor rows = q.narrow(1, c, 4);
                Tensor old = s[r].narrow(2, c, 4);
                Tensor f = g[r].narrow(2, c, 4) * scale - change.narrow(2, c, 4);
                f = f.Plus(old.unsqueeze(2).matmul(rows.narrow(2, c, 4)).squeeze(2));
                Tensor now = masks.Best(f, coefficients.select(1, c / 4), scale, context.Noise, generator, old, usable);
                Tensor delta = now - old;
                old.copy_(now);
                change.AddInPlace(delta.unsqueeze(2).matmul(rows).squeeze(2));
            }

            if (gram is not null && r + 1 < b)
            {
                Tensor below = gram.narrow(1, r + 1, b - r - 1).narrow(2, r, 1).transpose(0, 1).unsqueeze(3);
                g.narrow(0, r + 1, b - r - 1).sub_(below * change);
            }
        }

        return s.permute(1, 0, 2, 3).reshape(core.shape).MoveToOuterDisposeScope();

        // [d_out, n] as [row in block, block, strip, column]
        Tensor Rows(Tensor x) => x.reshape(blocks, b, strips, width).permute(1, 0, 2, 3);
    }

    // The inverse factors of the 2×2 systems [strips, groups, 3, masks] are few and are made on the CPU.
    private static unsafe Tensor Coefficients(Tensor q)
    {
        using var scope = NewDisposeScope();
        long width = q.shape[1];
        Tensor local = q.cpu().contiguous();
        Tensor result = zeros(q.shape[0], width / 4, 3, MaskPairs.Count);
        float* source = CoreSystems.Pointer(local);
        float* target = CoreSystems.Pointer(result);
        for (long strip = 0; strip < q.shape[0]; strip++)
        {
            MaskPairs.Prepare(source + (strip * width * width), width, (int)width, target + (strip * width / 4 * MaskPairs.CoefficientsPerGroup));
        }

        return result.to(q.device).MoveToOuterDisposeScope();
    }

    // The six masks as columns to gather from and scatter to.
    private sealed class Masks
    {
        private readonly Tensor first;
        private readonly Tensor second;

        public Masks(Device device)
        {
            first = tensor(MaskPairs.First.ToArray().Select(i => (long)i).ToArray(), device: device);
            second = tensor(MaskPairs.Second.ToArray().Select(i => (long)i).ToArray(), device: device);
        }

        public Tensor Best(
            Tensor f, Tensor coefficients, Tensor scale, AnnealingNoise noise, Generator? generator, Tensor old, Tensor usable)
        {
            Tensor fa = f.index_select(2, first);
            Tensor fb = f.index_select(2, second);
            Tensor aa = coefficients.select(1, 0);
            Tensor ba = coefficients.select(1, 1);
            Tensor bb = coefficients.select(1, 2);
            Tensor ya = aa * fa;
            Tensor yb = (ba * fa).Plus(bb * fb);
            Tensor a = (aa * ya).Plus(ba * yb);
            Tensor b = bb * yb;
            Tensor gain = (ya * ya).Plus(yb * yb);
            if (generator is not null)
            {
                Tensor most = gain.Times(noise.Relative).minimum(scale.Times(noise.Bound));
                gain -= most * rand(gain.shape, device: gain.device, generator: generator);
            }

            // Gains are never below zero; where nothing is a number the group stays as it is.
            Tensor number = gain.isfinite();
            Tensor best = where(number, gain, zeros_like(gain).Plus(-1.0)).argmax(2, keepdim: true);
            Tensor now = zeros_like(old);
            now.scatter_(2, first.take(best), a.gather(2, best));
            now.scatter_(2, second.take(best), b.gather(2, best));
            return where(usable.logical_and(number.any(2, keepdim: true)), now, old);
        }
    }
}
