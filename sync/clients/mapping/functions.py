"""JMESPath's own functions; those that make texts of texts have an end: nested, each would multiply the one before."""

import json
from typing import Any

from jmespath import Options
from jmespath.functions import Functions, signature

from sync.clients.mapping.transforms import LONGEST, TOO_LONG, WrongValue, joined

ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)


class Bounded(Functions):
    """Raises WrongValue."""

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        return joined(separator, array)

    @signature({"types": []})
    def _func_to_string(self, arg: Any) -> str:
        if isinstance(arg, str):
            return arg
        parts, length = list[str](), 0
        for part in ENCODER.iterencode(arg):
            parts.append(part)
            length += len(part)
            if length > LONGEST:
                raise WrongValue(TOO_LONG)
        return "".join(parts)


OPTIONS = Options(custom_functions=Bounded())
