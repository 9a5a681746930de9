"""Records to token batches: the only place that knows chat templates and padding."""

from unbelief.tokens.batch import Row, TokenBatch, collate, length_buckets
from unbelief.tokens.encode import Encoded, Encoder

__all__ = ["Encoded", "Encoder", "Row", "TokenBatch", "collate", "length_buckets"]
