"""Measurements as ratios, paired in one run; `scripts/bench` runs them all. Never part of the test suite."""
