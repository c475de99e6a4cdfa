"""Admission: a token bucket for each caller, then a bounded queue before the slots."""
