"""JSON of others: whatever is wrong with it is one error. Pure."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")


class NotJson(ValueError):
    """It cannot be read; the text says why. `misfits`: it is JSON, of another shape than asked for."""

    def __init__(self, why: str, *, misfits: bool = False) -> None:
        self.misfits = misfits
        super().__init__(why)


@overload
def read_json(data: bytes | str) -> Any: ...
@overload
def read_json(data: bytes | str, kind: type[T]) -> T: ...
def read_json(data: bytes | str, kind: Any = Any) -> Any:
    """`data` as a `kind`. Nesting too deep to follow and text that is no UTF-8 are malformed like anything else.

    Raises: NotJson.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise NotJson(str(error), misfits=True) from None
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise NotJson(str(error)) from None
