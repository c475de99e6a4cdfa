"""Sources: where rows come from, as async iterators of Arrow record batches."""
