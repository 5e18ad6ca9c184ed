namespace Armor.Runtime.Models;

/// <summary>The rotary embedding of some layers: what cosines and sines are made of.</summary>
/// <param name="Frequencies">The angular step of each rotated pair, in radians a position: [rotary size / 2].</param>
/// <param name="Magnitude">What cosines and sines are multiplied by.</param>
public sealed record Rotation(IReadOnlyList<double> Frequencies, double Magnitude);
