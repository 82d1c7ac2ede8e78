"""Write the .pt files that 505_rectokens_pt.pl converts, of two levels of four codes: FOLDER."""

import sys

import torch
from rectokens import Level, RQKMeansTokenizer
from torch import Tensor

folder = sys.argv[1]
first = Tensor("F32", [4, 2], [0, 0, 10, 0, 0, 10, 10, 10])
second = Tensor("F32", [4, 2], [0, 0, 1, 0, 0, 1, 1, 1])
counts = Tensor("I64", [4], [5, 6, 7, 8])
torch.save(RQKMeansTokenizer([Level(first, counts), Level(second, counts)]), f"{folder}/rqkmeans.pt")
torch.save(RQKMeansTokenizer([Level(first, None), Level(second, None)]), f"{folder}/unfitted.pt")
state = {}
for l, t in enumerate((first, second)):
    prefix = f"rq._module_levels.{l}."
    state[prefix + "_codebook.embeddings"] = t
    state[prefix + "_ema_cluster_size"] = Tensor("F32", [4], [1, 1, 1, 1])
    state[prefix + "_ema_embed_sum"] = t
state["encoder.net.0.weight"] = Tensor("F32", [2, 3], [1, 0, 0, 0, 1, 0])
state["encoder.net.0.bias"] = Tensor("F32", [2], [0, 0])
state["decoder.net.0.weight"] = Tensor("F32", [3, 2], [1, 0, 0, 1, 0, 0])
state["decoder.net.0.bias"] = Tensor("F32", [3], [0, 0, 0.5])
torch.save({"state_dict": state, "config": {"latent_dim": 2}}, f"{folder}/rqvae.pt")
torch.save({"weights": first}, f"{folder}/other.pt")
