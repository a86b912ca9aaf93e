"""The service layer: registration, binding of params, context and dispatch of functions."""
