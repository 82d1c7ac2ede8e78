"""Ids by FAISS: rows, dim, train (rows of them to train on), method (rq: ResidualQuantizer; refined:
the same with Train_refine_codebook; lsq: LocalSearchQuantizer), levels, size, epochs (k-means
iterations of rq, lsq's iterations), beam, seed, threads; codes (out), again (out: decoded rows)."""

import time

import faiss
import rival

given = rival.arguments("rows", "codes", "again", "method")
faiss.omp_set_num_threads(given.threads)
x = rival.read_rows(given.rows, given.dim)
bits = given.size.bit_length() - 1
assert bits == 8, "codes are taken as bytes"
if given.method == "lsq":
    quantizer = faiss.LocalSearchQuantizer(given.dim, given.levels, bits)
    quantizer.train_iters = given.epochs
    quantizer.random_seed = given.seed
else:
    quantizer = faiss.ResidualQuantizer(given.dim, given.levels, bits)
    quantizer.cp.niter = given.epochs
    quantizer.cp.seed = given.seed
    quantizer.cp.min_points_per_centroid = 1
    quantizer.max_beam_size = given.beam
    if given.method == "refined":
        quantizer.train_type = faiss.ResidualQuantizer.Train_refine_codebook
began = time.perf_counter()
quantizer.train(x[: given.train])
seconds = time.perf_counter() - began
codes = quantizer.compute_codes(x)
rival.write_codes(given.codes, codes)
rival.write_rows(given.again, quantizer.decode(codes))
rival.tell(seconds=seconds)
