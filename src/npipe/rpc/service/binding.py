"""Bind JSON-RPC params to the arguments of a function, by its annotations.

Sans-I/O. The function is inspected once, when it is registered; each call then takes one msgspec
decoder over the encoded params and one function call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import Raw

from npipe.errors import InvalidParams, InvalidRequest
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import BAD_DATA, BAD_JSON
from npipe.rpc.wire.json_encoding import JSON

__all__ = ["Binding", "Parameter", "Signature", "inspect_function"]

Bind = Callable[[Raw], tuple[Any, ...]]
ErrorFormatter = Callable[[Sequence["Parameter"], bytes, Exception], str]
"""``format_error(parameters, params, error)`` formats the message for wrong params by position: a
JSON array that msgspec has rejected with ``error``."""
_BoundFormatter = Callable[[bytes, Exception], str]  # bound to one function
JSON_ENCODING = JSON()  # stateless
NO_PARAMS = JSON_ENCODING.array(())


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a served function. ``rest``: it is ``*args`` and takes all further params."""

    name: str
    type: Any
    required: bool
    default: Any = None
    rest: bool = False
    keyword_only: bool = False


class Binding(NamedTuple):
    """The binding of params in one encoding.

    ``bind(params)`` binds any params: it calls ``by_position(params)``, which accepts an array, and
    after an exception ``otherwise(params, error)``. It is faster to do that without it.
    """

    bind: Bind
    by_position: Bind
    otherwise: Callable[[Raw, Exception], tuple[Any, ...]]
    no_params: Raw  # in place of absent params
    takes_nothing: bool = False  # ``by_position(no_params)`` is ``()``


@dataclass(frozen=True, slots=True)
class Signature:
    """The binding of a function.

    ``call(*bind(params))`` calls the function; with ``wants_context``,
    ``call(context, *bind(params))``. ``bind`` raises InvalidParams with the path and the reason.
    """

    parameters: tuple[Parameter, ...]
    returns: Any
    wants_context: bool
    bind: Bind = field(repr=False)
    call: Callable[..., Any] = field(repr=False)
    make_binding: Callable[[Encoding], Binding] | None = field(repr=False, default=None)

    def binding(self, encoding: Encoding) -> Binding:
        """Return the binding of params in an encoding."""
        if self.make_binding is None:
            return Binding(self.bind, self.bind, _fail, Raw())
        return self.make_binding(encoding)


def default_error_text(parameters: Sequence[Parameter], params: bytes, error: Exception) -> str:
    """Format the message of -32602 from msgspec's message: the default ``ErrorFormatter``."""
    return f"invalid params: {error}"


def inspect_function(
    function: Callable[..., Any],
    context_type: type,
    format_error: ErrorFormatter = default_error_text,
) -> Signature:
    """Inspect a function's signature. Raises TypeError if it cannot be served by JSON-RPC."""
    hints = _type_hints(function)
    parameters: list[Parameter] = []
    context_at: int | str | None = None
    for at, item in enumerate(inspect.signature(function).parameters.values()):
        kind = hints.get(item.name, Any)
        keyword_only = item.kind is item.KEYWORD_ONLY
        if kind is context_type:
            context_at = item.name if keyword_only else at
        elif item.kind is item.VAR_KEYWORD:
            raise TypeError(
                f"{_name(function)}: **{item.name} cannot be served: name each parameter"
            )
        else:
            required = item.default is item.empty and item.kind is not item.VAR_POSITIONAL
            default = None if item.default is item.empty else item.default
            rest = item.kind is item.VAR_POSITIONAL
            parameters.append(Parameter(item.name, kind, required, default, rest, keyword_only))
    make_binding = cache(partial(_make_binding, parameters, partial(format_error, parameters)))
    return Signature(
        tuple(parameters),
        hints.get("return", Any),
        context_at is not None,
        make_binding(JSON_ENCODING).bind,
        _make_call(function, parameters, context_at),
        make_binding,
    )


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{_name(function)}: the annotation {error.name!r} cannot be found when the function "
            "is registered: import it at run time, not under TYPE_CHECKING"
        ) from None


def _make_call(
    function: Callable[..., Any], parameters: list[Parameter], context_at: int | str | None
) -> Callable[..., Any]:
    """Make a function of positional arguments only, preceded by the context if it takes one."""
    names = [p.name for p in parameters if p.keyword_only]
    if not names and context_at in (None, 0):
        return function
    split = len(parameters) - len(names)

    def call(*args: Any) -> Any:
        context, args = (None, args) if context_at is None else (args[0], args[1:])
        positional, named = list(args[:split]), dict(zip(names, args[split:], strict=True))
        if isinstance(context_at, str):
            named[context_at] = context
        elif context_at is not None:
            positional.insert(context_at, context)
        return function(*positional, **named)

    def call_with_rest(*args: Any) -> Any:  # with *args the context keeps its fixed position
        positional = list(args[1:])
        positional.insert(context_at, args[0])  # type: ignore[arg-type]
        return function(*positional)

    return call_with_rest if any(p.rest for p in parameters) else call


def _make_binding(
    parameters: list[Parameter], format_error: _BoundFormatter, encoding: Encoding
) -> Binding:
    by_name = _struct(encoding, [p for p in parameters if not p.rest], array_like=False)
    by_position: Bind
    if any(p.rest for p in parameters):
        by_position = _variadic(encoding, parameters)
    elif any(p.keyword_only and p.required for p in parameters):
        by_position = _refuse
    elif all(p.required for p in parameters):
        by_position = encoding.decoder(tuple[tuple(p.type for p in parameters)])  # type: ignore[misc]
    else:
        positional = [p for p in parameters if not p.keyword_only]
        extra = tuple(p.default for p in parameters if p.keyword_only)
        strict = _struct(encoding, positional, array_like=True)

        def with_extra(raw: Raw) -> tuple[Any, ...]:
            return strict(raw) + extra

        by_position = with_extra if extra else strict

    no_params = Raw(encoding.array(()))
    bad = BAD_JSON if isinstance(encoding, JSON) else BAD_DATA

    def bind(params: Raw) -> tuple[Any, ...]:
        try:
            return by_position(params or no_params)
        except bad as error:
            return otherwise(params, error)

    def otherwise(params: Raw, error: Exception) -> tuple[Any, ...]:
        return _bind_otherwise(
            bytes(params),
            by_position,
            by_name,
            error,
            format_error=format_error,
            encoding=encoding,
        )

    return Binding(bind, by_position, otherwise, no_params, takes_nothing=not parameters)


def _bind_otherwise(
    params: bytes,
    by_position: Bind,
    by_name: Bind,
    error: Exception,
    *,
    format_error: _BoundFormatter,
    encoding: Encoding,
) -> tuple[Any, ...]:
    """Bind params that are not a valid array: an object by name, null as no params."""
    kind = encoding.kind(params)
    try:
        if kind == "object":
            return by_name(Raw(params))
        if kind == "null":
            return by_position(Raw(encoding.array(())))
    except BAD_DATA as fault:
        error = fault
    if kind == "object":
        raise InvalidParams(default_error_text((), params, error)) from None
    if kind == "other":
        raise InvalidRequest("the params must be an array or an object")
    text = NO_PARAMS
    if kind == "array" and not isinstance(encoding, JSON):
        text = _as_json(params, encoding)
    elif kind == "array":
        text = params
    raise InvalidParams(format_error(text, error)) from None


def _fail(params: Raw, error: Exception) -> tuple[Any, ...]:
    raise error


def _as_json(params: bytes, encoding: Encoding) -> bytes:
    """Return params as JSON for the error formatter; ``[]`` if they cannot be converted."""
    try:
        return JSON_ENCODING.encode(encoding.decode(params))
    except Exception:  # a user's encoding may raise any exception
        return NO_PARAMS


def _struct(encoding: Encoding, parameters: list[Parameter], *, array_like: bool) -> Bind:
    """Make a decoder to a struct of the parameters. It fills in defaults and rejects extra ones."""
    fields = [_field(at, p) for at, p in enumerate(parameters)]
    kind = msgspec.defstruct(
        "Params", fields, array_like=array_like, forbid_unknown_fields=True, kw_only=True, gc=False
    )
    decode, astuple = encoding.decoder(kind), msgspec.structs.astuple
    return lambda raw: astuple(decode(raw))


def _field(at: int, parameter: Parameter) -> tuple[str, Any, Any]:
    # The field has a neutral name, because not every parameter name is allowed in a struct.
    name, kind, default = f"p{at}", parameter.type, parameter.default
    if parameter.required:
        return (name, kind, msgspec.field(name=parameter.name))
    return (name, kind, msgspec.field(name=parameter.name, default_factory=lambda: default))


def _variadic(encoding: Encoding, parameters: list[Parameter]) -> Bind:
    """Bind ``fixed, *rest``. The rest has one type; the fixed ones are bound as without it."""
    fixed = [p for p in parameters if not p.rest and not p.keyword_only]
    if any(p.keyword_only for p in parameters):
        raise TypeError("*args and keyword-only parameters together cannot be served")
    rest = encoding.decoder(tuple[next(p.type for p in parameters if p.rest), ...])  # type: ignore[misc]
    if not fixed:
        return rest
    split, decode_fixed = encoding.items, _struct(encoding, fixed, array_like=True)

    def bind(params: Raw) -> tuple[Any, ...]:
        items = split(params)
        head, tail = items[: len(fixed)], items[len(fixed) :]
        bound: tuple[Any, ...] = decode_fixed(Raw(encoding.array(head))) + rest(
            Raw(encoding.array(tail))
        )
        return bound

    return bind


def _refuse(params: Raw) -> tuple[Any, ...]:
    raise msgspec.ValidationError("this method accepts parameters by name only, in an object")
