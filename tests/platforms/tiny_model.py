"""A language model of a few kilobytes that says one thing: what `transformers serve` serves in the tests.

Its layers add nothing, its output weights are a table from each token to the next: after the prompt's last
token it says ``words`` in their order, then ends or begins anew. The tokenizer is a real byte-level BPE.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

START, END, LAST = "<|im_start|>", "<|im_end|>", "\n"
CHATML = (
    "{% for m in messages %}" + START + "{{ m.role }}\n{{ m.content }}" + END + "\n{% endfor %}"
    + START + "assistant{{ '\\n' }}"
)  # fmt: skip
HIDDEN = 384


def write_model(folder: Path, words: Sequence[str], *, endless: bool = False, layers: int = 1) -> Path:
    """Write a model folder that ``transformers serve`` loads.

    Args:
        folder: Where to.
        words: What the model says, one token each; all different.
        endless: Begin anew instead of ending.
        layers: More make it slower.

    Returns:
        The folder.
    """
    tokenizer = _tokenizer(words)
    ids = tokenizer.get_vocab()
    said = [ids[_bytes(word)] for word in (LAST, *words)]
    following = dict(zip(said, [*said[1:], said[1] if endless else ids[END]], strict=True))
    model = _table(len(ids), following, layers)
    model.generation_config = GenerationConfig(eos_token_id=ids[END], pad_token_id=ids[END])
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, additional_special_tokens=[START]
    )
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    return folder


def _bytes(text: str) -> str:
    """A text as byte-level BPE writes it."""
    [(token, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return str(token)


def _tokenizer(words: Sequence[str]) -> Tokenizer:
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map(_bytes, words)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([START, END])
    return tokenizer


def _table(tokens: int, following: dict[int, int], layers: int) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=tokens, hidden_size=HIDDEN, intermediate_size=HIDDEN, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, bos_token_id=None,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(tokens, HIDDEN))
        model.lm_head.weight.zero_()
        for now, then in following.items():
            model.lm_head.weight[then, now] = 1.0
    return model
