"""Requests that go out to addresses callers name: no more of the network is reached than the operator allows."""
