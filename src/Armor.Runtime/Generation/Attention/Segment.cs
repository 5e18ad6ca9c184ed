namespace Armor.Runtime.Generation.Attention;

/// <summary>Rows of a pass that are consecutive positions of one sequence.</summary>
/// <param name="Cache">The sequence's keys and values.</param>
/// <param name="FirstPosition">The position of the first row: the number of positions in the cache before.</param>
/// <param name="FirstRow">The first row.</param>
/// <param name="Rows">Number of rows.</param>
/// <param name="IsLong">Whether the sequence is rotated as one beyond the original context.</param>
internal readonly record struct Segment(KeyValueCache Cache, int FirstPosition, int FirstRow, int Rows, bool IsLong);
