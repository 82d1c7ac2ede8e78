"""Losses of an RQ-VAE by plain PyTorch, for test/unit/test_rqvae_curve.c, which says how to run it.

Reads what the test writes of each case, a line of JSON and arrays behind it, takes the same steps,
and prints "case step loss". The equations are those at the head of src/core/rqvae.h, written with
PyTorch's own modules, losses, autograd and AdamW; nothing is shared with the C.
"""

import json
import pathlib
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


def mlp(sizes, activation):
    layers = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if i + 2 < len(sizes):
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


class Case:
    def __init__(self, path):
        self.file = open(path, "rb")
        self.plan = json.loads(self.file.readline())
        plan = self.plan
        self.x = self.take(numpy.float32, plan["rows"], plan["inputs"])
        self.encoder = mlp([plan["inputs"], *plan["encoder"], plan["latent"]], plan["activation"])
        self.decoder = mlp([plan["latent"], *plan["decoder"], plan["inputs"]], plan["activation"])
        parameters = []
        for half in (self.encoder, self.decoder):
            for layer in half:
                if isinstance(layer, nn.Linear):
                    layer.weight.data = self.take(numpy.float32, *layer.weight.shape)
                    layer.bias.data = self.take(numpy.float32, *layer.bias.shape)
                    parameters += [layer.weight, layer.bias]
        self.codebooks = [
            nn.Parameter(self.take(numpy.float32, size, plan["latent"]), bool(plan["learnable"]))
            for size in plan["sizes"]
        ]
        if plan["learnable"]:
            parameters += self.codebooks
        self.counts = [self.take(numpy.float64, size) for size in plan["sizes"]]
        self.sums = [self.take(numpy.float64, size, plan["latent"]) for size in plan["sizes"]]
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(
            parameters,
            lr=1,
            betas=(plan["beta1"], plan["beta2"]),
            eps=plan["epsilon"],
            weight_decay=plan["weight_decay"],
        )

    def take(self, dtype, *shape):
        count = int(numpy.prod(shape))
        data = numpy.frombuffer(self.file.read(count * numpy.dtype(dtype).itemsize), dtype)
        return torch.from_numpy(data.reshape(shape).copy())

    def diversity(self, r, level, left):
        size = self.plan["sizes"][level]
        temperature = left.detach().square().sum(1).mean()
        distances = torch.cdist(r, self.codebooks[level].detach()).square()
        mass = functional.softmax(-distances / temperature, 1).mean(0)
        entropy = -(mass * mass.log()).sum()
        return 1 - entropy / numpy.log(size)

    def loss(self, x, seen):
        plan = self.plan
        z = self.encoder(x)
        if plan["cosine"]:
            z = functional.normalize(z)
        r = z
        total = torch.zeros_like(z)
        loss = 0
        for level, codebook in enumerate(self.codebooks):
            if level > 0 and not plan["flow"]:
                r = r.detach()
            codes = torch.cdist(r.double(), codebook.double()).argmin(1).detach()
            e = codebook[codes]
            seen.append((r.detach(), codes))
            if plan["learnable"]:
                loss = loss + (e - r.detach()).square().sum(1).mean()
                commitment = (r - e.detach()).square().sum(1).mean()
            else:
                commitment = functional.mse_loss(r, e.detach())
            loss = loss + plan["commitment"] * commitment
            if plan["diversity"] > 0:
                loss = loss + plan["diversity"] * self.diversity(r, level, r - e)
            total = total + e.detach()
            r = r - e.detach()
        y = self.decoder(z + (total - z).detach())
        return loss + functional.mse_loss(y, x)

    def follow(self, seen):
        """Moving averages of the rows that chose a code."""
        decay = self.plan["decay"]
        for level, (r, codes) in enumerate(seen):
            size = self.plan["sizes"][level]
            chosen = functional.one_hot(codes, size).double()
            hit = chosen.sum(0) > 0
            counts = decay * self.counts[level] + (1 - decay) * chosen.sum(0)
            sums = decay * self.sums[level] + (1 - decay) * (chosen.T @ r.double())
            self.counts[level][hit] = counts[hit]
            self.sums[level][hit] = sums[hit]
            e = (self.sums[level] / self.counts[level].clamp(min=1e-5)[:, None]).float()
            if self.plan["cosine"] and level == 0:
                e = functional.normalize(e)
            self.codebooks[level].data[hit] = e[hit]

    def steps(self):
        plan = self.plan
        for _ in range(plan["steps"]):
            self.optimizer.param_groups[0]["lr"] = float(self.take(numpy.float64, 1)[0])
            places = self.take(numpy.int64, plan["batch"])
            seen = []
            loss = self.loss(self.x[places], seen)
            self.optimizer.zero_grad()
            loss.backward()
            if plan["clip"] > 0:
                nn.utils.clip_grad_norm_(self.parameters, plan["clip"])
            self.optimizer.step()
            if not plan["learnable"]:
                self.follow(seen)
            elif plan["cosine"]:
                self.codebooks[0].data = functional.normalize(self.codebooks[0].data)
            yield loss.item()


def main():
    torch.manual_seed(0)
    for path in sorted(pathlib.Path(sys.argv[1]).glob("*.bin")):
        for step, loss in enumerate(Case(path).steps()):
            print(path.stem, step + 1, f"{loss:.9g}")


main()
