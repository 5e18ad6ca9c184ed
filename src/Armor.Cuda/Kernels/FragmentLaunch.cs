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
    private const int MostOfSmallLaunch = 16; // the same, where inputs are few
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
            if (!AreAlike(part, parts[0]))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether one launch can multiply by both.</summary>
    public static bool AreAlike(FragmentProduct one, FragmentProduct other)
        => one.Form == other.Form && one.Type == other.Type && one.Columns == other.Columns
            && one.InputFragments?.Block == other.InputFragments?.Block && one.OutputFragments?.Block == other.OutputFragments?.Block
            && one.InputRows is null && one.OutputRows is null && other.InputRows is null && other.OutputRows is null;

    /// <summary>Queues y = W·x for each part.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="parts">One, or several that <see cref="CanJoin"/>.</param>
    /// <param name="splits">Into how many parts the columns are cut.</param>
    /// <param name="input">What is multiplied.</param>
    /// <param name="batch">At least 1.</param>
    /// <param name="outputs">Addresses on the device, one a part: [batch, d_out], float32.</param>
    /// <param name="sum">For one part and few inputs: whether the product is added to its output.</param>
    public static void Queue(
        DeviceRun run, ReadOnlySpan<FragmentProduct> parts, int splits, ProductInput input, int batch, ReadOnlySpan<nint> outputs, ProductSum sum = default)
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

            var squares = sum.Squares == 0 ? 0 : sum.Squares + ((nint)first * ProductSum.BlocksOf(parts[0].Rows) * sizeof(float));
            QueuePiece(
                run, parts, isLarge ? 0 : splits, input.From(first, parts[0].Columns), Math.Min(most, batch - first), own[..parts.Length], sum with { Squares = squares }, null);
        }
    }

    /// <summary>Queues the products of each expert by the rows that the card has chosen for it, in two launches for all experts.</summary>
    /// <param name="run">Its stream and scratch are used.</param>
    /// <param name="parts">Of one expert, like those of all.</param>
    /// <param name="splits">Into how many parts the columns are cut where rows are few.</param>
    /// <param name="input">What is multiplied, a row or a slot.</param>
    /// <param name="rows">At most 512.</param>
    /// <param name="outputs">Addresses on the device, one a part: [slots, d_out], float32.</param>
    /// <param name="experts">Whose weights, and which rows.</param>
    public static void QueueExperts(
        DeviceRun run, ReadOnlySpan<FragmentProduct> parts, int splits, ProductInput input, int rows, ReadOnlySpan<nint> outputs, ExpertUse experts)
        => QueuePiece(run, parts, rows > MostOfSmallLaunch ? 0 : splits, input, rows, outputs, default, experts);

    private static void QueuePiece(
        DeviceRun run, ReadOnlySpan<FragmentProduct> parts, int splits, ProductInput input, int batch, ReadOnlySpan<nint> outputs, ProductSum sum, ExpertUse? experts)
    {
        // No splits: the kernels of large batches.
        var chunks = Fragments.ChunksOf(parts[0].Columns);
        var (steps, stepsOfPart) = Arrange(run, parts, input, batch, chunks * Fragments.ChunkSteps, experts);

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
            Experts = experts?.Weights ?? 0,
            Active = experts?.Active ?? 0,
            Squares = sum.Squares,
            Bias = sum.Bias,
            Batch = batch,
            WrapperSteps = (parts[0].OutputFragments?.Block ?? 0) / 16,
        };
        if (splits == 0)
        {
            run.Launch(
                KernelNames.Product(parts[0].Form, parts[0].TypeName, LargeInputs), Blocks(batch, LargeInputs), blocks, (uint)(experts?.ActiveCount ?? 1), ProductThreads, arguments);
        }
        else
        {
            var inputsAtOnce = batch <= 8 ? 8 : MostOfSmallLaunch;
            var groups = (uint?)experts?.ActiveCount ?? Blocks(batch, (uint)inputsAtOnce);
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
    private static (nint Steps, long BytesOfPart) Arrange(
        DeviceRun run, ReadOnlySpan<FragmentProduct> parts, ProductInput input, int batch, int steps, ExpertUse? experts)
    {
        var eights = (uint?)experts?.EightCount ?? Blocks(batch, 8);
        var bytes = (long)eights * steps * Fragments.Lanes * Fragments.LaneBytes;
        var arguments = new InputArguments
        {
            Input = input.Address,
            Up = input.Up,
            GateBias = input.GateBias,
            UpBias = input.UpBias,
            Norm = input.Norm,
            Squares = input.Squares,
            Eights = experts?.Eights ?? 0,
            Slots = experts?.Slots ?? 0,
            ExpertWrappers = experts?.Wrappers ?? 0,
            Output = run.Scratch(ScratchUse.Steps, parts.Length * bytes).Address,
            OutputStride = (ulong)(bytes / sizeof(ushort)),
            Columns = parts[0].Columns,
            Steps = steps,
            Batch = batch,
            WrapperSteps = (parts[0].InputFragments?.Block ?? 0) / 16,
            IsGelu = input.IsGelu ? 1 : 0,
            SquareBlocks = ProductSum.BlocksOf(parts[0].Columns),
            Epsilon = input.Epsilon,
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
            rows.Multiply(run, input.Address, batch, arguments.Input);
        }

        run.Launch(KernelNames.Arrange(parts[0].TypeName), Blocks(steps * Fragments.Lanes, ArrangeThreads), eights, 1, ArrangeThreads, arguments);
        return (arguments.Output, 0);
    }

    private static uint Blocks(int count, uint each) => ((uint)count + each - 1) / each;
}
