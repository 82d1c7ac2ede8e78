# Sourced by what runs on a machine with a device: where programs and results are, what they were built
# from, and how results begin. here: the folder of the script.
# shellcheck shell=bash
if [ -e "$here/built" ]; then
  programs=$here results=$here built=$(cat "$here/built")
else
  programs=$here/../../test/cuda/bin results=$here/../results
  . "$here/../lib.sh"
  built="compiler    $(nvcc --version | sed -n 's/.*release \(.*\)/nvcc \1/p'), $(${CC:-cc} --version | head -1)
commit      $(bench_commit)"
fi

header() {
  cat <<END
$1

device      $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | sed 's/,/, driver/' | head -1)
CPU         $(lscpu | sed -n 's/^Model name: *//p' | head -1) ($(nproc) cores)
$built
date        $(date -u +%Y-%m-%d)

END
}
