namespace Armor.Core.Pruning.Allocation;

/// <summary>What a linear would lose with wrappers of some size.</summary>
/// <param name="Blocks">The size.</param>
/// <param name="Loss">½·tr(G·E·H·Eᵀ) a token after a short run: how far the model's prediction would move, in nats, taken alone; may not be finite.</param>
internal sealed record BlockTrial(BlockSizes Blocks, double Loss);

/// <summary>The trials of one linear.</summary>
/// <param name="Name">The linear.</param>
/// <param name="Rows">d_out.</param>
/// <param name="Columns">d_in.</param>
/// <param name="Trials">The first is that of the size which the options name.</param>
internal sealed record LinearTrials(string Name, int Rows, int Columns, IReadOnlyList<BlockTrial> Trials);
