"""Ids by RecTokens' own tokenizers, of a checkout that RECTOKENS names: rows, dim, train (rows of
them to train on), method (rqkmeans, rqvae), levels, size, epochs, seed, threads; codes (out), again
(out: decoded rows). Batches and rates as its training scripts have them, layers as its class. Without
a checkout or PyTorch it says so and tells nothing."""

import os
import sys
import time

import rival

BATCH = 640
LATENT = 64
HIDDEN = 256
RATE = 1e-3
DECAY = 1e-4

given = rival.arguments("rows", "codes", "again", "method")
sys.path.insert(0, os.environ.get("RECTOKENS", ""))
try:
    import torch
    from rectokens.tokenizers.rq_kmeans import RQKMeansTokenizer
    from rectokens.tokenizers.rqvae import RQVAETokenizer
except ImportError as missing:
    print(f"RecTokens is not here (RECTOKENS, bench/rivals/setup torch): {missing}", file=sys.stderr)
    sys.exit(0)

torch.manual_seed(given.seed)
torch.set_num_threads(given.threads)
device = "cuda" if torch.cuda.is_available() else "cpu"
x = torch.from_numpy(rival.read_rows(given.rows, given.dim)).to(device)
rows = x[: given.train]


def batches():
    for places in torch.randperm(len(rows)).split(BATCH):
        yield rows[places.to(device)]


began = time.perf_counter()
if given.method == "rqkmeans":
    model = RQKMeansTokenizer(given.levels, given.size, given.dim, seed=given.seed)
    for _ in range(given.epochs):
        for batch in batches():
            model.fit_step(batch)
else:
    model = RQVAETokenizer(
        input_dim=given.dim,
        latent_dim=LATENT,
        hidden_dim=HIDDEN,
        num_levels=given.levels,
        codebook_size=given.size,
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    model.train()
    for _ in range(given.epochs):
        for batch in batches():
            optimizer.zero_grad()
            out = model(batch)
            loss = torch.nn.functional.mse_loss(out.recon, batch) + out.commitment_loss
            loss.backward()
            optimizer.step()
    model.eval()
    model._fitted = True
seconds = time.perf_counter() - began
with torch.no_grad():
    tokens = model.encode(x)
    rival.write_codes(given.codes, tokens.codes.cpu().numpy())
    rival.write_rows(given.again, model.decode(tokens).cpu().numpy())
rival.tell(seconds=seconds)
