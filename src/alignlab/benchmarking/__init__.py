"""Benchmarks in which the truth is known: of identifiers, on models with planted neurons."""
