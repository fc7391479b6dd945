"""Random weights of a small transformer, named as DINOv2's are in the original code and by Hugging Face."""

import pathlib

import numpy as np

WIDTH, BLOCKS, HEADS = 24, 2, 2


def original(width: int = WIDTH, blocks: int = BLOCKS) -> dict[str, np.ndarray]:
    """All tensors, with positions of 37 x 37 patches, in the original's names."""
    random = np.random.default_rng(0)
    draw = lambda *shape: random.normal(0, 0.3, shape).astype(np.float32)
    found = {"cls_token": draw(1, 1, width), "pos_embed": draw(1, 1370, width), "mask_token": draw(1, width)}
    found |= {"patch_embed.proj.weight": draw(width, 3, 14, 14), "patch_embed.proj.bias": draw(width)}
    found |= {"norm.weight": draw(width), "norm.bias": draw(width)}
    for i in range(blocks):
        block = {f"{name}.{part}": draw(width) for name in ("norm1", "norm2") for part in ("weight", "bias")}
        block |= {"ls1.gamma": draw(width), "ls2.gamma": draw(width)}
        for name, out, into in (
            ("attn.qkv", 3 * width, width), ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width),
        ):  # fmt: skip
            block |= {f"{name}.weight": draw(out, into), f"{name}.bias": draw(out)}
        found |= {f"blocks.{i}.{name}": value for name, value in block.items()}
    return found


def hugging_face(given: dict[str, np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    """The same tensors in Hugging Face's names."""
    whole = {
        "cls_token": "embeddings.cls_token", "mask_token": "embeddings.mask_token",
        "pos_embed": "embeddings.position_embeddings", "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
    }  # fmt: skip
    inner = {
        "attn.proj": "attention.output.dense",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    found = {}
    for name, value in given.items():
        stem, _, part = name.rpartition(".")
        if not name.startswith("blocks."):
            found[whole[name] if name in whole else f"{whole[stem]}.{part}"] = value
            continue
        _, number, rest = name.split(".", 2)
        place, (stem, part) = f"encoder.layer.{number}", rest.rsplit(".", 1)
        if stem == "attn.qkv":
            for kind, third in zip(("query", "key", "value"), np.split(value, 3)):
                found[f"{place}.attention.attention.{kind}.{part}"] = np.ascontiguousarray(third)
        else:
            found[f"{place}.{inner[rest] if rest in inner else f'{inner.get(stem, stem)}.{part}'}"] = value
    return {prefix + name: value for name, value in found.items()}


def write(file: pathlib.Path, tensors: dict[str, np.ndarray]) -> str:
    """The path of a safetensors file with these tensors."""
    from safetensors import numpy

    numpy.save_file(tensors, file)
    return str(file)
