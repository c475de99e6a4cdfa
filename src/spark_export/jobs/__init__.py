"""Exports that outlive their connection: kept in SQLite and files, run in their turn, told of when they are done."""
