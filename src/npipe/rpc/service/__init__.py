"""A method name and raw parameters to your function: registration, binding, context, dispatch."""
