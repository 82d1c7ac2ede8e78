"""Print the rivals' versions, FAISS's vector unit and its BLAS in one line."""

import faiss
import numpy
import sklearn

blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
print(
    f"FAISS {faiss.__version__} ({faiss.SIMDConfig.get_level_name()} of {faiss.get_compile_options().strip()}),"
    f" scikit-learn {sklearn.__version__}, NumPy {numpy.__version__} (OpenBLAS {blas['version']})"
)
