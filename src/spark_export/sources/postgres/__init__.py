"""PostgreSQL: the operator's SQL, run on the server and streamed as binary COPY through ADBC into Arrow batches.

What the server computes is read-only, bounded in time, cancelled when nobody waits for it, and never held whole on
either side. ADBC is loaded by the first connection: a service without such datasets has none of it.
"""
