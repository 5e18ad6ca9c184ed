namespace Armor.Core.Pruning;

/// <summary>Where a model's pruning stands.</summary>
/// <param name="Linear">The linear at work, such as <c>model.layers.3.mlp.down_proj</c>.</param>
/// <param name="Index">How many linears are finished.</param>
/// <param name="Count">How many linears the model has.</param>
/// <param name="Loss">The linear's loss so far, in the unit of its method; null before it has one.</param>
/// <param name="Finished">True where the linear has just been finished; it is then among the first <paramref name="Index"/>.</param>
/// <param name="Resumed">True where the linear was taken over from an earlier run.</param>
/// <param name="Elapsed">Time since this run began.</param>
/// <param name="Remaining">Estimated time left; null before the first linear is finished.</param>
public sealed record ModelPruningProgress(
    string Linear,
    int Index,
    int Count,
    double? Loss,
    bool Finished,
    bool Resumed,
    TimeSpan Elapsed,
    TimeSpan? Remaining);
