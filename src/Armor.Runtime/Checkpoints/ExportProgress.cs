namespace Armor.Runtime.Checkpoints;

/// <summary>How far an export is.</summary>
/// <param name="Done">Linears written.</param>
/// <param name="Total">Linears to write.</param>
/// <param name="Linear">The linear just written.</param>
public readonly record struct ExportProgress(int Done, int Total, string Linear);
