"""A sidecar that streams rows as CSV and PDF files, at any size, in constant memory."""

__version__ = "1.7.0"
