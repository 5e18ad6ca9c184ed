namespace Armor.Core.Evaluation.Tasks.Data;

/// <summary>A data set as it lies on a disk.</summary>
/// <param name="Name">What a path of its own is given by.</param>
/// <param name="Folders">Where it may lie under the folder of all data, the usual place first.</param>
internal sealed record TaskDataSet(string Name, params string[] Folders);
