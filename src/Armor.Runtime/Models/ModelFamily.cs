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

    /// <summary>Gemma 2: four norms a layer, soft-capped logits, every second layer with a window (<c>gemma2</c>).</summary>
    Gemma2,

    /// <summary>Gemma 3's text model: five layers with a window to one without, each kind with its own rotation (<c>gemma3_text</c>).</summary>
    Gemma3,

    /// <summary>Phi-3, Phi-3.5 and Phi-4-mini: fused projections, LongRoPE (<c>phi3</c>).</summary>
    Phi3,

    /// <summary>Mixtral: a mixture of experts in the place of the MLP (<c>mixtral</c>).</summary>
    Mixtral,

    /// <summary>Qwen3 with a mixture of experts in the place of every MLP (<c>qwen3_moe</c>).</summary>
    Qwen3Moe,
}
