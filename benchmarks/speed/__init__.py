"""How fast it is, against the framework's own floor in the same run: `python -m benchmarks.speed`."""
