namespace Armor.Runtime.Generation;

/// <summary>One step of one of several generations.</summary>
/// <param name="Prompt">The index of its prompt.</param>
/// <param name="Update">The step.</param>
public readonly record struct BatchUpdate(int Prompt, GenerationUpdate Update);
