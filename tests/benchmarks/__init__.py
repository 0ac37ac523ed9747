"""What batchkit costs beside a bare script: ``python -m tests.benchmarks`` prints a table."""
