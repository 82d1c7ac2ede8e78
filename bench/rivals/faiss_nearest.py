"""Nearest codeword by FAISS's IndexFlatL2: rows, codewords, dim, threads, times, codes (out)."""

import faiss
import rival

given = rival.arguments("rows", "codewords", "codes")
faiss.omp_set_num_threads(given.threads)
x = rival.read_rows(given.rows, given.dim)
index = faiss.IndexFlatL2(given.dim)
index.add(rival.read_rows(given.codewords, given.dim))
shortest, median, (_, codes) = rival.measure(given.times, lambda: index.search(x, 1))
rival.write_codes(given.codes, codes)
rival.tell(shortest=shortest, median=median)
