#!/usr/bin/python3
r"""Turn a tokenizer that RecTokens saved (.pt) into a safetensors file for semtok.import_safetensors.

    python3 rectokens_pt.py tokenizer.pt tokenizer.safetensors
    psql DATABASE <<'SQL'
    \set file `base64 -w 0 tokenizer.safetensors`
    SELECT semtok.import_safetensors('items', decode(:'file', 'base64'));
    SQL

Needs torch and safetensors, and for RQKMeansTokenizer also rectokens: such a file is the pickled
object itself, and reading it runs what is pickled there. Give --trust for files that you trust.

RQKMeansTokenizer: codebooks.0, codebooks.1, … and counts.0, …, so that semtok.partial_fit continues
it. RQVAETokenizer: codebooks, encoder and decoder, so that semtok encodes embeddings and decodes to
them. Its moving averages are not counts of rows, so there are none, and partial_fit is refused.
With the config {"encoder": null} import_safetensors takes the codebooks alone, which encode latent
vectors.
"""

import argparse
import pickle
import sys

import torch
from safetensors.torch import save_file


def fail(message):
    sys.exit(f"rectokens_pt.py: {message}")


def load(path, trust):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        fail(e)
    except pickle.UnpicklingError:
        if not trust:
            fail(f"{path}: is a pickled object, not weights alone; reading it runs code: give --trust if you trust it")
    except Exception as e:  # whatever a broken file comes to, here and below
        fail(f"{path}: cannot be read: {e!r}")
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except ImportError as e:
        fail(f"{path}: needs rectokens to be read: {e}")
    except Exception as e:
        fail(f"{path}: cannot be read: {e!r}")


def levels_of(state, name):
    """The tensors name.format(0), name.format(1), … of a state dict."""
    found = []
    while name.format(len(found)) in state:
        found.append(state[name.format(len(found))])
    return found


def tensors_of(loaded, path):
    if hasattr(loaded, "_rq"):
        levels = loaded._rq._levels
        codebooks = [level._codebook.embeddings for level in levels]
        counts = [level._counts for level in levels]
        if any(c is None for c in counts):
            fail(f"{path}: this tokenizer has not been fitted")
        rest = {f"counts.{l}": c.double() for l, c in enumerate(counts)}
    else:
        state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
        codebooks = levels_of(state, "rq._module_levels.{}._codebook.embeddings")
        rest = {name: t for name, t in state.items() if name.startswith(("encoder.", "decoder."))}
    if not codebooks:
        fail(f"{path}: expected an RQKMeansTokenizer or an RQVAETokenizer, not {type(loaded).__name__}")
    return {**{f"codebooks.{l}": t.float() for l, t in enumerate(codebooks)}, **rest}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--trust", action="store_true", help="read a pickled object")
    options = parser.parse_args()
    tensors = tensors_of(load(options.source, options.trust), options.source)
    tensors = {name: t.detach().contiguous() for name, t in tensors.items()}
    save_file(tensors, options.target, metadata={"metric": "l2"})
    for name, tensor in tensors.items():
        print(name, list(tensor.shape))


if __name__ == "__main__":
    main()
