"""The figures of the benchmarks: how they are summed up and shown. What they measure is no test."""
