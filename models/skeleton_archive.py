"""A traced model as the smallest archive that LibTorch still loads: no weights, no debug files, each class once.

Tracing writes a class of its own for every module, each into a file of its own, under a number that depends on what was
traced before: `___torch_mangle_117`. Classes with equal code are one here (12 transformer blocks are one class), all in
one file, named in the order in which the model reaches them. The code is not otherwise touched; attribute paths, which
are what node names come from, are as they were. So the same model gives the same bytes, whatever was traced before it.
"""

from __future__ import annotations

import io
import re
import zipfile

import torch
from torch import nn

_REFERENCE = re.compile(r"__torch__(?:\.\w+)+")
_GLOBAL = re.compile(rb"c(__torch__[\w.]*)\n(\w+)\n")
_CLASS = re.compile(r"^class (\w+)\(", re.MULTILINE)
_TEMPORARY = re.compile(r"\b_\d+\b")
_DATE = (1980, 1, 1, 0, 0, 0)
_NAMESPACE = "__torch__.skeleton"


def empty_weights(model: nn.Module) -> None:
    """Replaces every tensor of the state dict by zeros of its shape that take one number of memory, shared by all."""
    zeros: dict[torch.dtype, torch.Tensor] = {}
    for tensor in model.state_dict(keep_vars=True).values():
        zero = zeros.setdefault(tensor.dtype, torch.zeros((), dtype=tensor.dtype))
        tensor.data = zero.expand(tensor.shape)


def share_tables(model: nn.Module) -> None:
    """Lets equal tables that are no weights, such as Swin's masks and indices in every block, share their memory, so
    that the archive holds each once."""
    weights = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    tables: list[torch.Tensor] = []
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if id(buffer) in weights:
                continue
            same = next((each for each in tables if each.dtype == buffer.dtype and torch.equal(each, buffer)), None)
            if same is None:
                tables.append(buffer)
            else:
                setattr(module, name, same.detach())  # a tensor of its own: tracing wants no two modules to share one


def skeleton_members(traced: torch.jit.ScriptModule) -> dict[str, bytes]:
    """The archive's records by name, in the order in which they are written."""
    _drop_idle_calls(traced)
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    # Debug files hold the paths of whoever ran this; the id is a hash over them; traced inputs serve re-tracing only.
    left_out = re.compile(r"\.debug_pkl$|^\.data/serialization_id$|^traced_inputs")
    members = {name: content for name, content in members.items() if not left_out.search(name)}
    code = {name: content.decode() for name, content in members.items() if name.startswith("code/")}
    data = members["data.pkl"]
    root = _GLOBAL.search(data)
    if root is None:
        raise ValueError("data.pkl names no class")
    source, names = _merge(_classes(code), ".".join(part.decode() for part in root.groups()))
    rest = {name: content for name, content in members.items() if name not in code}
    rest["data.pkl"] = _rename(data, names)
    rest["code/" + _NAMESPACE.replace(".", "/") + ".py"] = source.encode()
    return dict(sorted(rest.items()))


def _drop_idle_calls(traced: torch.jit.ScriptModule) -> None:
    """Tracing keeps calls of modules that did nothing, such as `nn.Identity`, without arguments or result, at places
    that differ from run to run: the one thing in a trace that does."""
    for module in traced.modules():
        for name in module._c._method_names():
            for node in list(module._c._get_method(name).graph.nodes()):
                if (
                    node.kind() == "prim::CallMethod"
                    and node.output().type().kind() == "NoneType"
                    and not node.output().uses()
                ):
                    node.destroy()


def write_archive(members: dict[str, bytes]) -> bytes:
    """A zip of the records, compressed where that makes them smaller, with fixed dates."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(f"archive/{name}", _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED if len(content) > 64 else zipfile.ZIP_STORED
            archive.writestr(entry, content, compresslevel=9)
    return buffer.getvalue()


def read_members(archive: bytes) -> dict[str, bytes]:
    """What `write_archive` was given."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name.partition("/")[2]: opened.read(name) for name in opened.namelist()}


def _classes(files: dict[str, str]) -> dict[str, str]:
    """Source of every class by its qualified name."""
    found: dict[str, str] = {}
    for path, text in files.items():
        namespace = path.removeprefix("code/").removesuffix(".py").replace("/", ".")
        starts = list(_CLASS.finditer(text))
        if not starts or text[: starts[0].start()].strip():
            raise ValueError(f"{path} holds something besides classes")
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            body = text[start.start() : end.start() if end else len(text)]
            methods = re.split(r"(?=^  def )", body.rstrip() + "\n", flags=re.MULTILINE)
            found[f"{namespace}.{start.group(1)}"] = "".join(map(_renumber, methods))
    return found


def _renumber(method: str) -> str:
    """Temporaries `_7` are counted through a file, whatever classes stand in it; here through a method."""
    numbers: dict[str, str] = {}
    return _TEMPORARY.sub(lambda match: numbers.setdefault(match[0], f"_{len(numbers)}"), method)


def _merge(classes: dict[str, str], root: str) -> tuple[str, dict[str, str]]:
    """One source with each different class once, what it needs before it, and the new name of every old one."""
    names: dict[str, str] = {}
    by_body: dict[str, str] = {}
    taken: set[str] = set()
    written: list[str] = []

    def visit(qualified: str) -> str:
        if qualified in names:
            return names[qualified]
        body = classes[qualified]
        short = qualified.rpartition(".")[2]
        # "self" stands for the class itself until its name is known.
        body = _REFERENCE.sub(lambda match: "self" if match[0] == qualified else visit(match[0]), body)
        if body not in by_body:
            name, count = short, 1
            while name in taken:
                count += 1
                name = f"{short}{count}"
            taken.add(name)
            by_body[body] = f"{_NAMESPACE}.{name}"
            text = body.replace(f"class {short}(", f"class {name}(", 1)
            written.append(re.sub(r"(?<=\(self: )self\b", by_body[body], text))
        names[qualified] = by_body[body]
        return names[qualified]

    visit(root)
    for qualified in classes:  # none is expected; a class that only the pickled data names
        visit(qualified)
    return "".join(written), names


def _rename(data: bytes, names: dict[str, str]) -> bytes:
    def new(match: re.Match[bytes]) -> bytes:
        namespace, _, name = names[b".".join(match.groups()).decode()].rpartition(".")
        return b"c" + namespace.encode() + b"\n" + name.encode() + b"\n"

    return _GLOBAL.sub(new, data)
