"""Atomic artifacts, receipts and locks."""
