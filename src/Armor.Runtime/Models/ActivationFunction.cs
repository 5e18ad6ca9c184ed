namespace Armor.Runtime.Models;

/// <summary>The function of the MLP's gate.</summary>
public enum ActivationFunction
{
    /// <summary>x / (1 + exp(−x)).</summary>
    Silu,

    /// <summary>x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), the approximation of GELU that Gemma was trained with.</summary>
    GeluTanh,
}
