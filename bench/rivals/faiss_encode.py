"""Encoding by FAISS's ResidualQuantizer with a codebook that is given: rows, codewords, dim,
levels, bits, beam, tables (use_beam_LUT: inner products from tables; 0 is its default), threads,
times, codes (out)."""

import faiss
import rival

given = rival.arguments("rows", "codewords", "codes")
faiss.omp_set_num_threads(given.threads)
x = rival.read_rows(given.rows, given.dim)
rq = faiss.ResidualQuantizer(given.dim, given.levels, given.bits)
faiss.copy_array_to_vector(rival.read_rows(given.codewords, given.dim).ravel(), rq.codebooks)
rq.is_trained = True
rq.max_beam_size = given.beam
rq.use_beam_LUT = given.tables
rq.compute_codebook_tables()
assert given.bits == 8, "codes are taken as bytes"
shortest, median, codes = rival.measure(given.times, lambda: rq.compute_codes(x))
rival.write_codes(given.codes, codes)
rival.tell(shortest=shortest, median=median)
