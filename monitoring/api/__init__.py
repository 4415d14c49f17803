"""Monitoring over HTTP."""
