"""What schemathesis cannot read from the document: what a picture is.

Without it nearly every request would end at a picture that is none. Half of the requests get a real one in the place of
the text or the bytes that were made up; whatever else is wrong with them stays wrong.
"""

import base64
import os
import re
import zlib

import schemathesis
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.transport.serialization import Binary

BASE64 = re.compile("(?:[A-Za-z0-9+/]{4})+")
with open(os.environ["SIGHTLINE_PICTURE"], "rb") as file:
    BYTES = file.read()
# To schemathesis, bytes of their own are no string.
PICTURE = Binary(BYTES)
B64 = base64.b64encode(BYTES).decode()


def is_chosen(value) -> bool:
    """The same for the same request, so that a failure can be repeated."""
    return zlib.crc32(repr(value).encode("utf-8", "backslashreplace")) % 2 == 0


def with_picture(value, name=None):
    if isinstance(value, dict):
        if value.get("datatype") == "BYTES" and is_list(value.get("data"), str) and is_list(value.get("shape"), int):
            return {**value, "name": "image", "shape": [1], "data": [B64]}
        return {key: with_picture(each, key) for key, each in value.items()}
    if isinstance(value, list):
        if name == "instances":
            return [{"b64": B64} if isinstance(each, dict) else each for each in value]
        return [with_picture(each) for each in value]
    if name == "b64" and isinstance(value, str):
        return B64
    if name == "image" and isinstance(value, (str, bytes)):
        return PICTURE
    return value


def with_base64(value, name=None):
    if isinstance(value, dict):
        return {key: with_base64(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [with_base64(each) for each in value]
    return B64 if name == "b64" and isinstance(value, str) and BASE64.fullmatch(value) else value


def is_picture(value) -> bool:
    return isinstance(value, Binary) and value.data == BYTES


def is_list(value, kind) -> bool:
    return isinstance(value, list) and all(type(each) is kind for each in value)


@schemathesis.hook
def before_call(context, case, **kwargs):
    # A deadline that the client asks for and that passes is answered with 504, as it should be.
    if case.headers is not None and str(case.headers.get("x-deadline-ms", "")).isascii():
        if str(case.headers.get("x-deadline-ms", "")).isdigit() and int(case.headers["x-deadline-ms"]) > 0:
            case.headers["x-deadline-ms"] = "999999999"
    if not is_chosen(case.body):
        return
    body = case.meta and case.meta.components.get(ParameterLocation.BODY)
    if body is not None and body.mode is GenerationMode.NEGATIVE:
        # It is wrong on purpose, so no more is put right than what is base64 already.
        case.body = with_base64(case.body)
    elif isinstance(case.body, (dict, list)):
        case.body = with_picture(case.body)
    elif isinstance(case.body, (str, bytes)):
        case.body = PICTURE


@schemathesis.hook
def after_call(context, case, response):
    # The real picture is no string to schemathesis, so it takes the request for wrong, though nothing else is.
    if case.meta is None or not is_picture(case.body.get("image") if isinstance(case.body, dict) else case.body):
        return
    others = [part for part in case.meta.components if part is not ParameterLocation.BODY]
    if not any(case.meta.is_negative_at(part) for part in others):
        case.meta.generation.mode = GenerationMode.POSITIVE
