"""Public reading logs: EB-NeRD (Parquet) and MIND (TSV). Needs the extra `import` (polars)."""
