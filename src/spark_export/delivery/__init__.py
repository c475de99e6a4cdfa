"""Delivery: a file goes to a bucket or a presigned URL instead of staying here."""
