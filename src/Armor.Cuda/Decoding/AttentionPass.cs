using Armor.Cuda.Kernels;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>Queues attention: how many queries share a block of threads, and into how many parts the positions are cut.</summary>
internal sealed class AttentionPass(ModelConfiguration configuration, Activations activations, PassInputs inputs, CacheShape cache)
{
    private const int MostQueries = 8;
    private const int MostSplits = 64;
    private const int PromptQueries = 64; // of attention_prompt.cu
    private const int LeastOfPrompt = 32;
    private const int MostOfPrompt = 256;
    private const uint Threads = 128;

    private readonly int _group = configuration.AttentionHeadCount / configuration.KeyValueHeadCount;

    /// <summary>Queues attention of the rows from a first one on.</summary>
    public void Queue(DeviceRun run, int layer, PassShape shape, int firstRow)
    {
        // Neighbours in a sequence see nearly the same keys and values, which are then read once for some of them.
        var rows = shape.Rows - firstRow;
        var isPrompt = shape.IsOneSequence && rows > 1;
        var onTensorCores = isPrompt && cache.ElementBytes == sizeof(ushort) && cache.Stride <= MostOfPrompt && rows * _group >= LeastOfPrompt;
        var together = isPrompt ? Math.Clamp((onTensorCores ? PromptQueries : MostQueries) / _group, 1, rows) : 1;
        var queries = together * _group;
        var atOnce = onTensorCores ? PromptQueries : queries == 1 ? 1 : queries <= 4 ? 4 : MostQueries;
        var blocks = configuration.KeyValueHeadCount * ((queries + atOnce - 1) / atOnce);
        var items = (rows + together - 1) / together;
        var splits = SplitsOf(isPrompt ? blocks * items : blocks, onTensorCores ? 2 : 4, run.Device.Multiprocessors);
        var kernel = onTensorCores ? KernelNames.AttentionOfPrompt(cache.Stride <= MostOfPrompt / 2 ? MostOfPrompt / 2 : MostOfPrompt) : KernelNames.Attention(8 * cache.ElementBytes, atOnce);
        run.Launch(kernel, (uint)blocks, (uint)splits, (uint)items, Threads, new AttentionArguments
        {
            Queries = activations.Queries,
            Context = activations.Context,
            Rows = inputs.Rows,
            Partials = run.Scratch(ScratchUse.AttentionPartials, (long)items * blocks * splits * atOnce * (2 + cache.Stride) * sizeof(float)).Address,
            Tickets = run.Scratch(ScratchUse.AttentionTickets, (long)items * blocks * sizeof(uint)).Address,
            FirstRow = firstRow,
            EndRow = shape.Rows,
            RowsOfItem = together,
            Heads = configuration.AttentionHeadCount,
            KeyHeads = configuration.KeyValueHeadCount,
            Size = configuration.HeadSize,
            Stride = cache.Stride,
            Layer = layer,
            Window = configuration.SlidingWindowOf(layer) ?? 0,
            Splits = splits,
            Scale = (float)configuration.AttentionScale,
            SoftCap = configuration.AttentionSoftCap ?? 0,
        });
    }

    /// <summary>
    /// As many parts as give each multiprocessor some blocks. Rows of several sequences count as one, so that what a sequence gets does not depend on
    /// the others: its parts follow from its own length and this number alone.
    /// </summary>
    private static int SplitsOf(int blocks, int wanted, int multiprocessors) => Math.Clamp(((wanted * multiprocessors) + blocks - 1) / blocks, 1, MostSplits);
}
