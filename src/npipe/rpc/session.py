"""One end of one connection: ids, pending calls, batches. Sans-I/O."""
