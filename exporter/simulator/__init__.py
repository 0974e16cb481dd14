"""A faithful Unpod API over real HTTP, for the demo, the tests and the benchmarks alike."""
