"""A training step of an RQ-VAE in PyTorch on a CUDA device, of the equations in src/core/rqvae.h.

Prints one line for each batch and way: milliseconds a step, the median of epochs by the host's clock,
as bench_rqvae times ours. Rows lie on the device; a step gathers its batch by index. The ways: eager;
torch.compile of forward and backward; the same with CUDA graphs (mode "reduce-overhead"); all with the
fused AdamW and without TF32. Losses stay on the device until an epoch ends.
"""

import statistics
import time

import torch
from torch import nn

ROWS, DIM, HIDDEN, LATENT, LEVELS, SIZE = 65536, 384, 512, 64, 3, 256
DECAY, RESTART_AFTER, COMMITMENT = 0.99, 20, 0.25
EPOCHS = 5


def perceptron(*widths):
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = perceptron(DIM, HIDDEN, HIDDEN, LATENT)
        self.decoder = perceptron(LATENT, HIDDEN, HIDDEN, DIM)
        self.register_buffer("codewords", torch.rand(LEVELS, SIZE, LATENT) * 0.2 - 0.1)
        self.register_buffer("sums", torch.zeros(LEVELS, SIZE, LATENT))
        self.register_buffer("counts", torch.zeros(LEVELS, SIZE))
        self.register_buffer("idle", torch.zeros(LEVELS, SIZE, dtype=torch.int32))

    def forward(self, x, drawn):
        z = self.encoder(x)
        residual, quantized, commitment = z, 0, 0
        for level in range(LEVELS):
            c = self.codewords[level]
            with torch.no_grad():
                codes = (0.5 * (c * c).sum(1) - residual @ c.t()).argmin(1)
            e = c[codes]
            commitment = commitment + COMMITMENT * ((residual - e) ** 2).mean()
            quantized = quantized + e
            self.learn(level, residual.detach(), codes, drawn[level])
            residual = (residual - e).detach()
        y = self.decoder(z + (quantized - z).detach())
        return ((y - x) ** 2).mean() + commitment

    @torch.no_grad()
    def learn(self, level, x, codes, drawn):
        one_hot = nn.functional.one_hot(codes, SIZE).to(x.dtype)
        rows, added = one_hot.sum(0), one_hot.t() @ x
        hit = rows > 0
        counts = torch.where(hit, DECAY * self.counts[level] + (1 - DECAY) * rows, self.counts[level])
        sums = torch.where(hit[:, None], DECAY * self.sums[level] + (1 - DECAY) * added, self.sums[level])
        codewords = torch.where(hit[:, None], sums / counts.clamp(min=1e-5)[:, None], self.codewords[level])
        idle = torch.where(hit, 0, self.idle[level] + 1)
        dead = idle >= RESTART_AFTER
        self.codewords[level].copy_(torch.where(dead[:, None], x[drawn], codewords))
        self.sums[level].copy_(sums.masked_fill(dead[:, None], 0))
        self.counts[level].copy_(counts.masked_fill(dead, 0))
        self.idle[level].copy_(idle.masked_fill(dead, 0))


def measure(x, batch, mode):
    torch.manual_seed(1)
    model = Model().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    forward = model if mode == "eager" else torch.compile(model, mode=mode)
    steps = ROWS // batch
    times = []
    for epoch in range(EPOCHS + 1):
        order = torch.randperm(ROWS, device="cuda")
        losses = torch.zeros(steps, device="cuda")
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for i in range(steps):
            if mode == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            rows = x[order[i * batch : (i + 1) * batch]]
            drawn = torch.randint(0, batch, (LEVELS, SIZE), device="cuda")
            optimizer.zero_grad(set_to_none=True)
            loss = forward(rows, drawn)
            loss.backward()
            optimizer.step()
            losses[i] = loss.detach()
        losses = losses.tolist()
        times.append((time.perf_counter() - begin) / steps)
    return statistics.median(times[1:]), losses[0], losses[-1]


if __name__ == "__main__":
    torch.backends.cuda.matmul.allow_tf32 = False
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
    print("   batch hidden  way                            step ms")
    x = torch.rand(ROWS, DIM, device="cuda") * 2 - 1
    for batch in (640, 8192):
        for mode in ("eager", "default", "reduce-overhead"):
            name = "eager" if mode == "eager" else f"compiled, {mode}"
            try:
                took, first, last = measure(x, batch, mode)
                print(f"{batch:8d}  {HIDDEN:5d}  {name:28s}  {took * 1e3:8.4f}"
                      f"   loss of the last epoch {first:.5f} to {last:.5f}", flush=True)
            except Exception as e:
                print(f"{batch:8d}  {HIDDEN:5d}  {name:28s}  failed, {type(e).__name__}: "
                      + (str(e).splitlines() or [""])[0][:100], flush=True)
