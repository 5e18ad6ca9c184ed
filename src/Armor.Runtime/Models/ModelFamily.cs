namespace Armor.Runtime.Models;

/// <summary>The decoder families whose checkpoints can be read; one member for each <c>model_type</c> of <c>config.json</c>.</summary>
public enum ModelFamily
{
    /// <summary>Llama 2, Llama 3 and models of the same shape (<c>model_type</c> <c>llama</c>).</summary>
    Llama,

    /// <summary>Mistral, with an optional sliding window (<c>mistral</c>).</summary>
    Mistral,

    /// <summary>Qwen2 and Qwen2.5, with biases on query, key and value (<c>qwen2</c>).</summary>
    Qwen2,

    /// <summary>Qwen3, with normalised queries and keys (<c>qwen3</c>).</summary>
    Qwen3,
}
