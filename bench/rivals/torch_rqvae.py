"""Steps of an RQ-VAE by plain PyTorch, eager and compiled: rows, dim, batch, hidden, latent, size,
levels, threads, times. The equations are those at the head of src/core/rqvae.h with RecTokens'
defaults: moving averages, commitment 0.25, AdamW; dead codes are not restarted. Seconds of a step:
eager, compiled. Nothing is printed where there is no PyTorch."""

import sys

import rival

try:
    import torch
    from torch import nn
    from torch.nn import functional
except ImportError:
    sys.exit(0)

given = rival.arguments("rows")
torch.set_num_threads(given.threads)
rows = torch.from_numpy(rival.read_rows(given.rows, given.dim))
DECAY = 0.99


def mlp(*sizes):
    layers = []
    for i in range(len(sizes) - 1):
        layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = mlp(given.dim, given.hidden, given.hidden, given.latent)
        self.decoder = mlp(given.latent, given.hidden, given.hidden, given.dim)
        for level in range(given.levels):
            self.register_buffer(f"codebook{level}", torch.randn(given.size, given.latent) * 0.05)
            self.register_buffer(f"count{level}", torch.zeros(given.size))
            self.register_buffer(f"sum{level}", torch.zeros(given.size, given.latent))

    def forward(self, x):
        z = self.encoder(x)
        r = z
        total = torch.zeros_like(z)
        loss = 0
        for level in range(given.levels):
            codebook = getattr(self, f"codebook{level}")
            with torch.no_grad():
                scores = 0.5 * codebook.square().sum(1) - r @ codebook.T
                codes = scores.argmin(1)
                e = codebook[codes]
                self.follow(level, r, codes)
            loss = loss + 0.25 * functional.mse_loss(r, e)
            total = total + e
            r = (r - e).detach()
        y = self.decoder(z + (total - z).detach())
        return loss + functional.mse_loss(y, x)

    def follow(self, level, r, codes):
        """Moving averages of the rows that chose a code."""
        n = torch.zeros(given.size).index_add_(0, codes, torch.ones(len(codes)))
        s = torch.zeros(given.size, given.latent).index_add_(0, codes, r)
        hit = (n > 0).float()
        count = getattr(self, f"count{level}")
        total = getattr(self, f"sum{level}")
        codebook = getattr(self, f"codebook{level}")
        count.add_(hit * (1 - DECAY) * (n - count))
        total.add_(hit[:, None] * (1 - DECAY) * (s - total))
        fresh = total / count.clamp(min=1e-5)[:, None]
        codebook.add_(hit[:, None] * (fresh - codebook))


def seconds(compiled):
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    forward = torch.compile(model) if compiled else model

    def step():
        x = rows[torch.randint(len(rows), (given.batch,))]
        loss = forward(x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(3):
        step()
    return rival.measure(given.times, step)[0]


rival.tell(eager=seconds(False), compiled=seconds(True))
