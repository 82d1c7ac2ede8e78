"""k-means by scikit-learn (Lloyd): rows, dim, size, epochs, threads, times, seed, start (initial
codewords), codewords (out)."""

import warnings

import rival
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

given = rival.arguments("rows", "start", "codewords")
x = rival.read_rows(given.rows, given.dim)
warnings.simplefilter("ignore", ConvergenceWarning)
kmeans = KMeans(
    given.size,
    init=rival.read_rows(given.start, given.dim),
    n_init=1,
    max_iter=given.epochs,
    tol=0,
    algorithm="lloyd",
    random_state=given.seed,
)
with threadpool_limits(given.threads):
    shortest, median, _ = rival.measure(given.times, lambda: kmeans.fit(x))
rival.write_rows(given.codewords, kmeans.cluster_centers_)
rival.tell(shortest=shortest, median=median, epochs=kmeans.n_iter_)
