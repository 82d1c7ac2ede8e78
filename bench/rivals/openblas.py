"""Print where NumPy keeps its OpenBLAS, for programs that call it themselves."""

import glob
import os

import numpy

libraries = os.path.join(os.path.dirname(os.path.dirname(numpy.__file__)), "numpy.libs")
print(*glob.glob(os.path.join(libraries, "libscipy_openblas64_*")))
