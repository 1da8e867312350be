"""`python -m service`: the API process."""

import os
import sys

BLAS = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR")


def main() -> int:
    # One BLAS thread: the products of one request are too small to share, and threads that wait for each other cost the
    # tail of the latency. One process per core is how the API scales.
    for library in BLAS:
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    from service.server import run  # noqa: PLC0415  # numpy reads the variables when it is imported

    return run()


if __name__ == "__main__":
    sys.exit(main())
