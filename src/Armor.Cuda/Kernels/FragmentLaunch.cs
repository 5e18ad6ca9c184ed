using System.Numerics;
using Armor.Cuda.Packing;

namespace Armor.Cuda.Kernels;

/// <summary>
/// Queues products in fragments: one kernel brings the input, through B where there is one, into the order of fragments, a second multiplies by the core
/// and applies A. Up to three weights that read the same input go together, each as a part of both launches. Few inputs and many have kernels of their own over the
/// same fragments (product.cu, prefill.cu); sums of the two differ in their last bits.
/// </summary>
internal static class FragmentLaunch
{
    /// <summary>Weights of a launch.</summary>
    public const int MostParts = 3;

    /// <summary>From so many inputs on, a batch is a large one.</summary>
    public const int LargeBatch = 128;

    // Inputs a launch; scratch for sums is as large as few of these want it, scratch for inputs as many of them.
    private const int MostInputs = 64;
    private const int MostOfLargeBatch = 512;

    private const int LargeInputs = 64; // of a block of threads
    private const uint ArrangeThreads = 128;
    private const uint ProductThreads = 256;

    /// <summary>Whether weights can be parts of the same launches: one form, type and input, and wrappers of the same blocks that fragments fit.</summary>
    public static bool CanJoin(ReadOnlySpan<FragmentProduct> parts)
    {
        if (parts.Length > MostParts)
        {
            return false;
        }

        foreach (var part in parts)
        {
            var isAlike = part.Form == parts[0].Form && part.Type == parts[0].Type && part.Columns == parts[0].Columns
                && part.InputFragments?.Block == parts[0].InputFragments?.Block && part.OutputFragments?.Block == parts[0].OutputFragments?.Block;
            if (!isAlike || part.InputRows is not null || part.OutputRows is not null)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Queues y = W·x for each part.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="parts">One, or several that <see cref="CanJoin"/>.</param>
    /// <param name="splits">Into how many parts the columns are cut.</param>
    /// <param name="input">Address on the device: [batch, d_in], float32.</param>
    /// <param name="batch">At least 1.</param>
    /// <param name="outputs">Addresses on the device, one a part: [batch, d_out], float32.</param>
    public static void Queue(DeviceRun run, ReadOnlySpan<FragmentProduct> parts, int splits, nint input, int batch, ReadOnlySpan<nint> outputs)
    {
        Span<nint> own = stackalloc nint[MostParts];
        var isLarge = batch >= LargeBatch;
        var most = isLarge ? MostOfLargeBatch : MostInputs;
        for (var first = 0; first < batch; first += most)
        {
            for (var i = 0; i < parts.Length; i++)
            {
                own[i] = outputs[i] + ((nint)first * parts[i].Rows * sizeof(float));
            }

            QueuePiece(run, parts, isLarge ? 0 : splits, input + ((nint)first * parts[0].Columns * sizeof(float)), Math.Min(most, batch - first), own[..parts.Length]);
        }
    }

    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="parts">One, or several that can join.</param>
    /// <param name="splits">Into how many parts the columns are cut; 0 for the kernels of large batches.</param>
    /// <param name="input">Address on the device.</param>
    /// <param name="batch">Not more than one launch takes.</param>
    /// <param name="outputs">Addresses on the device.</param>
    private static void QueuePiece(DeviceRun run, ReadOnlySpan<FragmentProduct> parts, int splits, nint input, int batch, ReadOnlySpan<nint> outputs)
    {
        var chunks = Fragments.ChunksOf(parts[0].Columns);
        var (steps, stepsOfPart) = Arrange(run, parts, input, batch, chunks * Fragments.ChunkSteps);

        // A warp has one tile of rows, or two of a core where the batch is large (prefill.cu).
        var rowsOfBlock = (uint)(splits == 0 && parts[0].Form != "dense" ? 2 * Fragments.BlockRows : Fragments.BlockRows);
        uint blocks = 0;
        Span<ProductPart> described = stackalloc ProductPart[MostParts];
        described.Fill(new ProductPart { FirstBlock = int.MaxValue });
        for (var i = 0; i < parts.Length; i++)
        {
            described[i] = new ProductPart
            {
                Weight = parts[i].Weight,
                Wrapper = parts[i].OutputFragments?.Address ?? 0,
                Output = parts[i].OutputRows is null ? outputs[i] : run.Scratch(ScratchUse.BeforeOutputWrapper, (long)batch * parts[i].Rows * sizeof(float)).Address,
                Rows = parts[i].Rows,
                FirstBlock = (int)blocks,
            };
            blocks += Blocks(parts[i].Rows, rowsOfBlock);
        }

        var arguments = new ProductArguments
        {
            First = described[0],
            Second = described[1],
            Third = described[2],
            Input = steps,
            InputStride = (ulong)(stepsOfPart / Fragments.LaneBytes),
            Chunks = chunks,
            Batch = batch,
            WrapperSteps = (parts[0].OutputFragments?.Block ?? 0) / 16,
        };
        if (splits == 0)
        {
            run.Launch(KernelNames.Product(parts[0].Form, parts[0].TypeName, LargeInputs), Blocks(batch, LargeInputs), blocks, 1, ProductThreads, arguments);
        }
        else
        {
            var inputsAtOnce = batch <= 8 ? 8 : 16;
            var groups = Blocks(batch, (uint)inputsAtOnce);
            arguments.Splits = splits;
            arguments.StrideShift = BitOperations.Log2(BitOperations.RoundUpToPowerOf2((uint)Math.Max(2, Math.Min(batch, inputsAtOnce))));
            arguments.Partials = run.Scratch(
                ScratchUse.Partials, ((long)groups * blocks * splits * Fragments.BlockRows * sizeof(float)) << arguments.StrideShift).Address;
            arguments.Tickets = run.Scratch(ScratchUse.Tickets, (long)groups * blocks * sizeof(uint)).Address;
            run.Launch(KernelNames.Product(parts[0].Form, parts[0].TypeName, inputsAtOnce), blocks, (uint)splits, groups, ProductThreads, arguments);
        }

        for (var i = 0; i < parts.Length; i++)
        {
            parts[i].OutputRows?.Multiply(run, described[i].Output, batch, outputs[i]);
        }
    }

    /// <summary>Brings inputs into the order of fragments: for each part its own where there is B, else one for all.</summary>
    private static (nint Steps, long BytesOfPart) Arrange(DeviceRun run, ReadOnlySpan<FragmentProduct> parts, nint input, int batch, int steps)
    {
        var eights = Blocks(batch, 8);
        var bytes = (long)eights * steps * Fragments.Lanes * Fragments.LaneBytes;
        var arguments = new InputArguments
        {
            Input = input,
            Output = run.Scratch(ScratchUse.Steps, parts.Length * bytes).Address,
            OutputStride = (ulong)(bytes / sizeof(ushort)),
            Columns = parts[0].Columns,
            Steps = steps,
            Batch = batch,
            WrapperSteps = (parts[0].InputFragments?.Block ?? 0) / 16,
        };
        if (parts[0].InputFragments is { } wrapper)
        {
            arguments.FirstWrapper = wrapper.Address;
            arguments.SecondWrapper = parts.Length > 1 ? parts[1].InputFragments!.Value.Address : 0;
            arguments.ThirdWrapper = parts.Length > 2 ? parts[2].InputFragments!.Value.Address : 0;
            run.Launch(KernelNames.Input(parts[0].TypeName), (uint)steps, eights, (uint)parts.Length, 2 * Fragments.Lanes, arguments);
            return (arguments.Output, bytes);
        }

        if (parts[0].InputRows is { } rows)
        {
            arguments.Input = run.Scratch(ScratchUse.AfterInputWrapper, (long)batch * parts[0].Columns * sizeof(float)).Address;
            rows.Multiply(run, input, batch, arguments.Input);
        }

        run.Launch(KernelNames.Arrange(parts[0].TypeName), Blocks(steps * Fragments.Lanes, ArrangeThreads), eights, 1, ArrangeThreads, arguments);
        return (arguments.Output, 0);
    }

    private static uint Blocks(int count, uint each) => ((uint)count + each - 1) / each;
}
