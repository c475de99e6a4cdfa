"""Writers: record batches in, bytes of a file out."""
