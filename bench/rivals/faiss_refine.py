"""Additive codebooks by FAISS: rows, dim, levels, bits, method (rq: ResidualQuantizer with beam
search and Train_refine_codebook; lsq: LocalSearchQuantizer), beam, threads, codewords (out), codes
(out). Its own defaults otherwise."""

import faiss
import rival

given = rival.arguments("rows", "method", "codewords", "codes")
faiss.omp_set_num_threads(given.threads)
x = rival.read_rows(given.rows, given.dim)
if given.method == "rq":
    quantizer = faiss.ResidualQuantizer(given.dim, given.levels, given.bits)
    quantizer.train_type = faiss.ResidualQuantizer.Train_refine_codebook
    quantizer.max_beam_size = given.beam
else:
    quantizer = faiss.LocalSearchQuantizer(given.dim, given.levels, given.bits)
assert given.bits == 8, "codes are taken as bytes"
shortest, _, _ = rival.measure(1, lambda: quantizer.train(x))
encode, _, codes = rival.measure(1, lambda: quantizer.compute_codes(x))
rival.write_rows(given.codewords, faiss.vector_to_array(quantizer.codebooks))
rival.write_codes(given.codes, codes)
rival.tell(shortest=shortest, encode=encode)
