"""What developers run: benchmarks, soak tests, the fuzzer, the quick start."""
