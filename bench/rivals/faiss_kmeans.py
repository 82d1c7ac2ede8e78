"""k-means by FAISS, level by level on residuals: rows, dim, size, levels, epochs, threads, times,
plus (k-means++), start (initial codewords of the first level, or
empty), codewords (out)."""

import faiss
import numpy as np
import rival

given = rival.arguments("rows", "start", "codewords")
faiss.omp_set_num_threads(given.threads)
x = rival.read_rows(given.rows, given.dim)
start = rival.read_rows(given.start, given.dim) if given.start else None


def train():
    residuals, codewords = x, []
    for level in range(given.levels):
        kmeans = faiss.Kmeans(
            given.dim,
            given.size,
            niter=given.epochs,
            nredo=1,
            max_points_per_centroid=len(x),
            min_points_per_centroid=1,
            init_method=int(given.plus),
        )
        kmeans.train(residuals, init_centroids=start if level == 0 else None)
        codewords.append(kmeans.centroids)
        if level + 1 < given.levels:
            _, codes = kmeans.assign(residuals)
            residuals = residuals - kmeans.centroids[codes]
    return np.concatenate(codewords)


rival.forget_peak()
before = rival.memory_kb("VmRSS")
shortest, median, codewords = rival.measure(given.times, train)
rival.write_rows(given.codewords, codewords)
rival.tell(shortest=shortest, median=median, memory=rival.memory_kb("VmHWM") - before)
