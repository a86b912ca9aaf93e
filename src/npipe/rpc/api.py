"""The registry: namespaces, methods, parameters bound by type. Sans-I/O."""
