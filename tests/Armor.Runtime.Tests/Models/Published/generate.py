#!/usr/bin/env python3
"""Writes beside itself, for published models: config.json as their publishers state it, and the shapes that follow from it.

The shapes are derived here on their own, from the model families' definitions, and not with the library. The number of parameters is the
publisher's own (the total of the safetensors index); the script stops where its shapes do not add up to it.
Run: python3 generate.py
"""

import json
import math
import pathlib

LLAMA2 = dict(model_type="llama", vocab_size=32000, max_position_embeddings=4096, rms_norm_eps=1e-05, rope_scaling=None,
              tie_word_embeddings=False, torch_dtype="float16", bos_token_id=1, eos_token_id=2, hidden_act="silu", pretraining_tp=1)
LLAMA3 = dict(model_type="llama", vocab_size=128256, max_position_embeddings=8192, rms_norm_eps=1e-05, rope_theta=500000.0,
              rope_scaling=None, tie_word_embeddings=False, torch_dtype="bfloat16", bos_token_id=128000, eos_token_id=128001,
              hidden_act="silu", attention_bias=False)
LLAMA32 = dict(LLAMA3, max_position_embeddings=131072, tie_word_embeddings=True, mlp_bias=False,
               eos_token_id=[128001, 128008, 128009],
               rope_scaling=dict(factor=32.0, high_freq_factor=4.0, low_freq_factor=1.0, original_max_position_embeddings=8192,
                                 rope_type="llama3"))
QWEN25 = dict(model_type="qwen2", vocab_size=152064, max_position_embeddings=131072, rms_norm_eps=1e-06, rope_theta=1000000.0,
              sliding_window=131072, use_sliding_window=False, tie_word_embeddings=False, torch_dtype="bfloat16", hidden_act="silu",
              bos_token_id=151643, eos_token_id=151643)
QWEN3 = dict(model_type="qwen3", vocab_size=151936, max_position_embeddings=40960, rms_norm_eps=1e-06, rope_theta=1000000,
             rope_scaling=None, sliding_window=None, use_sliding_window=False, tie_word_embeddings=False, torch_dtype="bfloat16",
             hidden_act="silu", attention_bias=False, head_dim=128, bos_token_id=151643, eos_token_id=151645)
GEMMA2 = dict(model_type="gemma2", vocab_size=256000, max_position_embeddings=8192, rms_norm_eps=1e-06, rope_theta=10000.0,
              hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", attention_bias=False, attn_logit_softcapping=50.0,
              final_logit_softcapping=30.0, sliding_window=4096, cache_implementation="hybrid", torch_dtype="bfloat16", bos_token_id=2,
              eos_token_id=1)
GEMMA3 = dict(model_type="gemma3_text", vocab_size=262144, max_position_embeddings=32768, rms_norm_eps=1e-06, rope_theta=1000000,
              rope_local_base_freq=10000, rope_scaling=None, hidden_activation="gelu_pytorch_tanh", attention_bias=False,
              attn_logit_softcapping=None, final_logit_softcapping=None, sliding_window=512, query_pre_attn_scalar=256,
              torch_dtype="bfloat16", bos_token_id=2, eos_token_id=[1, 106])
PHI3 = dict(model_type="phi3", vocab_size=32064, max_position_embeddings=4096, original_max_position_embeddings=4096, rms_norm_eps=1e-05,
            rope_theta=10000.0, rope_scaling=None, sliding_window=2047, tie_word_embeddings=False, torch_dtype="bfloat16", hidden_act="silu",
            attention_bias=False, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=1, eos_token_id=32000)


def sizes(hidden, intermediate, layers, heads, kv):
    return dict(hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
                num_key_value_heads=kv)


MODELS = {
    "llama-2-7b": (dict(LLAMA2, **sizes(4096, 11008, 32, 32, 32)), 6738415616),
    "llama-2-13b": (dict(LLAMA2, **sizes(5120, 13824, 40, 40, 40)), 13015864320),
    "llama-2-70b": (dict(LLAMA2, **sizes(8192, 28672, 80, 64, 8)), 68976648192),
    "llama-3-8b": (dict(LLAMA3, **sizes(4096, 14336, 32, 32, 8)), 8030261248),
    "llama-3-70b": (dict(LLAMA3, **sizes(8192, 28672, 80, 64, 8)), 70553706496),
    "llama-3.2-1b": (dict(LLAMA32, **sizes(2048, 8192, 16, 32, 8), head_dim=64), 1235814400),
    "llama-3.2-3b": (dict(LLAMA32, **sizes(3072, 8192, 28, 24, 8), head_dim=128), 3212749824),
    "mistral-7b-v0.1": (dict(model_type="mistral", vocab_size=32000, max_position_embeddings=32768, rms_norm_eps=1e-05, rope_theta=10000.0,
                             sliding_window=4096, tie_word_embeddings=False, torch_dtype="bfloat16", hidden_act="silu", bos_token_id=1,
                             eos_token_id=2, **sizes(4096, 14336, 32, 32, 8)), 7241732096),
    "qwen2.5-7b": (dict(QWEN25, **sizes(3584, 18944, 28, 28, 4), max_window_layers=28), 7615616512),
    "qwen2.5-14b": (dict(QWEN25, **sizes(5120, 13824, 48, 40, 8), max_window_layers=48, rms_norm_eps=1e-05), 14770033664),
    "qwen2.5-32b": (dict(QWEN25, **sizes(5120, 27648, 64, 40, 8), max_window_layers=64, rms_norm_eps=1e-05), 32763876352),
    "qwen2.5-72b": (dict(QWEN25, **sizes(8192, 29568, 80, 64, 8), max_window_layers=80, rms_norm_eps=1e-05), 72706203648),
    "gemma-2-2b": (dict(GEMMA2, **sizes(2304, 9216, 26, 8, 4), head_dim=256, query_pre_attn_scalar=256), 2614341888),
    "gemma-2-27b": (dict(GEMMA2, **sizes(4608, 36864, 46, 32, 16), head_dim=128, query_pre_attn_scalar=144), 27227128320),
    "gemma-3-270m": (dict(GEMMA3, **sizes(640, 2048, 18, 4, 1), head_dim=256, _sliding_window_pattern=6,
                          layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 3), 268098176),
    "gemma-3-1b": (dict(GEMMA3, **sizes(1152, 6912, 26, 4, 1), head_dim=256, sliding_window_pattern=6), 999885952),
    "phi-3-mini-4k": (dict(PHI3, **sizes(3072, 8192, 32, 32, 32)), 3821079552),
    "phi-3-medium-4k": (dict(PHI3, **sizes(5120, 17920, 40, 40, 10)), 13960238080),
    "mixtral-8x7b": (dict(model_type="mixtral", vocab_size=32000, max_position_embeddings=32768, rms_norm_eps=1e-05, rope_theta=1000000.0,
                          sliding_window=None, tie_word_embeddings=False, torch_dtype="bfloat16", hidden_act="silu", bos_token_id=1,
                          eos_token_id=2, num_local_experts=8, num_experts_per_tok=2, output_router_logits=False,
                          **sizes(4096, 14336, 32, 32, 8)), 46702792704),
    "qwen3-30b-a3b": (dict(QWEN3, **sizes(2048, 6144, 48, 32, 4), model_type="qwen3_moe", max_window_layers=48, decoder_sparse_step=1,
                           mlp_only_layers=[], moe_intermediate_size=768, norm_topk_prob=True, num_experts=128, num_experts_per_tok=8),
                      30532122624),
    "qwen3-8b": (dict(QWEN3, **sizes(4096, 12288, 36, 32, 8), max_window_layers=36), 8190735360),
    "qwen3-14b": (dict(QWEN3, **sizes(5120, 17408, 40, 40, 8), max_window_layers=40), 14768307200),
    "qwen3-32b": (dict(QWEN3, **sizes(5120, 25600, 64, 64, 8), max_window_layers=64), 32762123264),
}


def shapes(config):
    family = config["model_type"]
    hidden, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    query, key = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", [vocabulary, hidden]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", [hidden]
        yield prefix + "post_attention_layernorm.weight", [hidden]
        yield prefix + "self_attn.o_proj.weight", [hidden, query]
        if family == "phi3":
            yield prefix + "self_attn.qkv_proj.weight", [query + 2 * key, hidden]
            yield prefix + "mlp.gate_up_proj.weight", [2 * inner, hidden]
            yield prefix + "mlp.down_proj.weight", [hidden, inner]
            continue
        for name, rows in ("q", query), ("k", key), ("v", key):
            yield f"{prefix}self_attn.{name}_proj.weight", [rows, hidden]
            if family == "qwen2":
                yield f"{prefix}self_attn.{name}_proj.bias", [rows]
        if family in ("qwen3", "qwen3_moe", "gemma3_text"):
            yield prefix + "self_attn.q_norm.weight", [head]
            yield prefix + "self_attn.k_norm.weight", [head]
        if family in ("gemma2", "gemma3_text"):
            yield prefix + "pre_feedforward_layernorm.weight", [hidden]
            yield prefix + "post_feedforward_layernorm.weight", [hidden]
        if family in ("mixtral", "qwen3_moe"):
            yield from experts(config, prefix, hidden)
            continue
        yield prefix + "mlp.gate_proj.weight", [inner, hidden]
        yield prefix + "mlp.up_proj.weight", [inner, hidden]
        yield prefix + "mlp.down_proj.weight", [hidden, inner]
    yield "model.norm.weight", [hidden]
    if not config.get("tie_word_embeddings", family in ("gemma2", "gemma3_text")):
        yield "lm_head.weight", [vocabulary, hidden]


def experts(config, prefix, hidden):
    mixtral = config["model_type"] == "mixtral"
    prefix += "block_sparse_moe." if mixtral else "mlp."
    count = config["num_local_experts" if mixtral else "num_experts"]
    inner = config["intermediate_size" if mixtral else "moe_intermediate_size"]
    yield prefix + "gate.weight", [count, hidden]
    for expert in range(count):
        for name in ("w1", "w3") if mixtral else ("gate_proj", "up_proj"):
            yield f"{prefix}experts.{expert}.{name}.weight", [inner, hidden]
        yield f"{prefix}experts.{expert}.{'w2' if mixtral else 'down_proj'}.weight", [hidden, inner]


folder = pathlib.Path(__file__).parent
for model, (config, parameters) in MODELS.items():
    found = dict(shapes(config))
    total = sum(math.prod(shape) for shape in found.values())
    assert total == parameters, f"{model}: {total} parameters, its publisher says {parameters}"
    (folder / f"{model}.config.json").write_text(json.dumps(config, indent=2) + "\n")
    lines = [f"parameters {parameters}", f"tensors {len(found)}"]
    # The layers are alike: the first and the last stand for all, their number is in the line above.
    last = config["num_hidden_layers"] - 1
    lines += [f"{name} {shape}" for name, shape in sorted(found.items())
              if ".layers." not in name or name.split(".")[2] in ("0", str(last))]
    (folder / f"{model}.shapes.txt").write_text("\n".join(lines) + "\n")
