"""Compares what sightline answers of an archive with what PyTorch says of the model that it was made of."""

import copy
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import reference as eager
from expectations import tokens_of

LIMIT = 1e-4  # of the largest value
EARLY = 0.55  # of the nodes; an automatic target layer among them leaves half the model out
ROUNDINGS = 16  # times PyTorch's own float32 error, where that is more: a rectifier's kink multiplies it


class Answers:
    def __init__(self, path: Path):
        self.header = json.loads(path.with_suffix(".json").read_text())
        self.numbers = np.fromfile(path.with_suffix(".bin"), np.float32)

    def __contains__(self, name: str) -> bool:
        return name in self.header["tensors"]

    def names(self, prefix: str) -> list[str]:
        return [name[len(prefix) :] for name in self.header["tensors"] if name.startswith(prefix)]

    def tensor(self, name: str) -> Tensor:
        at = self.header["tensors"][name]
        count = int(np.prod(at["shape"]))
        return torch.from_numpy(self.numbers[at["offset"] : at["offset"] + count].reshape(at["shape"]).copy())


def error(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, of the largest value; infinite where shapes differ or a number is none."""
    if found.shape != wanted.shape:
        return float("inf")
    gap = (found.double() - wanted.double()).abs().max() / wanted.double().abs().max().clamp_min(1e-30)
    return float(gap) if torch.isfinite(gap) else float("inf")


def arrangements(attention: eager.Attention, batch: int, value: Tensor | None = None) -> dict[str, Tensor]:
    """A softmax's output, or its gradient, as [N, heads, queries, keys] or [N, windows, heads, queries, keys]; by how
    it was read."""
    tensor = (attention.probabilities if value is None else value).movedim(attention.axis, -1)
    found = {}
    lead = tensor.shape[:-2]
    if len(lead) == 1 and lead[0] % batch == 0:
        found["[N heads]"] = tensor.reshape(batch, -1, *tensor.shape[-2:])
        found["[N windows]"] = tensor.reshape(batch, -1, 1, *tensor.shape[-2:])
    if len(lead) == 2 and lead[0] == batch:
        found["[N, heads]"] = tensor
        found["[N, windows]"] = tensor.unsqueeze(2)
    if len(lead) == 2 and lead[0] % batch == 0:
        found["[N windows, heads]"] = tensor.reshape(batch, -1, *tensor.shape[-3:])
    if len(lead) == 3 and lead[0] == batch:
        found["[N, windows, heads]"] = tensor
        found["[N, heads, windows]"] = tensor.transpose(1, 2)
    if len(lead) == 4 and lead[0] == batch:
        found["[N, rows, columns, heads]"] = tensor.flatten(1, 2)
        found["[N, heads, rows, columns]"] = tensor.flatten(2, 3).transpose(1, 2)
    if len(lead) == 4 and lead[0] % batch == 0:
        found["[N windows, ...]"] = tensor.flatten(1, -3).reshape(batch, -1, int(np.prod(lead[1:])), *tensor.shape[-2:])
    return {
        **found,
        **{
            f"{how}, one window": value.squeeze(1)
            for how, value in found.items()
            if value.dim() == 5 and value.shape[1] == 1
        },
    }


class Comparison:
    """One archive's. `result` is what the table is made of."""

    def __init__(
        self, name: str, model: nn.Module, images: Tensor, target: int, answers: Answers, size: tuple[int, int]
    ):
        self.name, self.model, self.images, self.target, self.answers, self.size = (
            name,
            model,
            images,
            target,
            answers,
            size,
        )
        self.wrong: list[str] = []
        self.worst = 0.0
        self.doubts: list[str] = []
        self.right: dict[str, float] = {}
        named = list(model.named_modules(remove_duplicate=False))
        paths = Counter(id(module) for _, module in named)
        # Calls of modules that have several names.
        self.shared = {path for path, module in named if paths[id(module)] > 1}
        self.single = self.read_by_logits(eager.run(model, images))
        self._double: eager.Reference | None | bool = False

    def read_by_logits(self, reference: eager.Reference) -> eager.Reference:
        """Without attention that the scores do not come from, such as an unused pooling."""
        probabilities = [attention.probabilities for attention in reference.attention]
        used = eager.gradients(reference, self.target, probabilities) if probabilities else []
        reference.attention = [
            attention for attention, gradient in zip(reference.attention, used, strict=True) if gradient is not None
        ]
        return reference

    @property
    def double(self) -> eager.Reference | None:
        """The same in float64: how far PyTorch's own float32 is off. None where the model cannot be run so."""
        if self._double is False:
            try:
                self._double = self.read_by_logits(eager.run(copy.deepcopy(self.model).double(), self.images.double()))
            except RuntimeError:
                self._double = None
        return self._double

    def check(self, what: str, found: Tensor, of) -> bool:
        """`of` computes from a reference what is right."""
        wanted = of(self.single).detach()
        gap = error(found, wanted)
        if gap > LIMIT and gap != float("inf") and self.double is not None:
            exact = of(self.double).detach()
            gap = min(gap, error(found, exact))
            rounding = error(wanted, exact)
            if rounding > 0.01:
                # Random weights can make a network that multiplies rounding: nothing is known of it.
                self.doubts.append(f"{what}: not compared, PyTorch in float32 itself is {rounding:.0e} off")
                return True
            if gap <= ROUNDINGS * rounding:
                self.right[what] = gap
                self.doubts.append(f"{what}: {gap:.0e} off, PyTorch in float32 itself {rounding:.0e}")
                return True
        if gap <= LIMIT:
            self.right[what] = gap
            return True
        shapes = f", shape {list(found.shape)} for {list(wanted.shape)}" if found.shape != wanted.shape else ""
        self.wrong.append(f"{what}: {gap:.1e} off{shapes}")
        self.worst = max(self.worst, gap)
        return False

    def logits(self):
        if "logits" in self.answers:
            self.check("logits", self.answers.tensor("logits"), lambda reference: reference.logits)

    def features(self):
        worst, count = 0.0, 0
        known = self.single.features
        for name in self.answers.names("feature "):
            if name not in known:
                continue
            found = self.answers.tensor(f"feature {name}")
            others = self.single.others[name]
            if others:
                # A trace keeps of several outputs those that are used, in no order that is known.
                gap = min(
                    error(found, one.detach().reshape(found.shape)) if one.numel() == found.numel() else float("inf")
                    for one in (known[name], *others)
                )
                if gap > LIMIT:
                    self.doubts.append(f"feature {name}: {list(found.shape)} is none of the {1 + len(others)} outputs")
                continue
            if found.numel() != known[name].numel():
                self.wrong.append(f"feature {name}: shape {list(found.shape)}, PyTorch {list(known[name].shape)}")
                continue
            before = len(self.wrong)
            shape = found.shape
            if name.split(":")[0] in self.shared:
                # A program counts the calls by each name of a module, hooks all of them by its first.
                calls = [known[call] for call in known if call.split(":")[0] == name.split(":")[0]]
                gap = min(error(found, call.detach().reshape(shape)) for call in calls if call.numel() == found.numel())
                if gap > LIMIT:
                    self.wrong.append(f"feature {name}: none of the {len(calls)} calls, {gap:.0e} off")
                continue
            self.check(
                f"feature {name}",
                found,
                lambda reference, name=name, shape=shape: reference.features[name].reshape(shape),
            )
            worst, count = max(worst, self.right.pop(f"feature {name}", 0.0)), count + (len(self.wrong) == before)
        if count:
            self.right["features"] = worst
        self.feature_count = count

    def attention(self):
        """Matches each site with a softmax, in the order of execution where several have the same values."""
        batch = len(self.images)
        sites = self.answers.header["inspection"]["attention"]
        free = list(range(len(self.single.attention)))
        self.matched: dict[int, tuple[int, str]] = {}
        for site, about in enumerate(sites):
            if f"attention {site}" not in self.answers:
                continue
            found = self.answers.tensor(f"attention {site}")
            best, place = float("inf"), None
            for index in free:
                for how, wanted in arrangements(self.single.attention[index], batch).items():
                    gap = error(found, wanted.detach())
                    if gap < best:
                        best, place = gap, (index, how)
                if best <= LIMIT:
                    break
            if place is not None and best > 10 * LIMIT and self.double is not None:
                index, how = place
                precise = arrangements(self.double.attention[index], batch)[how].detach()
                own = error(arrangements(self.single.attention[index], batch)[how].detach(), precise)
                if best <= ROUNDINGS * own:
                    free.remove(index)
                    self.matched[site] = place
                    self.doubts.append(f"attention {site}: {best:.0e} off, PyTorch in float32 itself {own:.0e}")
                    continue
            if place is None or best > 10 * LIMIT:
                self.worst = max(self.worst, best)
                self.wrong.append(
                    f"attention {site} ({about['name']}), {list(found.shape)}: equals no softmax of PyTorch; "
                    f"nearest {best:.1e}"
                )
                continue
            index, how = place
            free.remove(index)
            self.matched[site] = place
            self.check(
                f"attention {site}",
                found,
                lambda reference, index=index, how=how: arrangements(reference.attention[index], batch)[how],
            )
            heads = self.single.attention[index].heads
            if heads is not None and heads != about["heads"]:
                self.doubts.append(
                    f"attention {site} ({about['name']}): {about['heads']} heads, the module has {heads}"
                )
            (gradient,) = eager.gradients(self.single, self.target, [self.single.attention[index].probabilities])
            if gradient is not None:

                def of(reference, index=index, how=how):
                    (value,) = eager.gradients(reference, self.target, [reference.attention[index].probabilities])
                    return arrangements(reference.attention[index], batch, value)[how]

                self.check(f"attention gradient {site}", self.answers.tensor(f"attention gradient {site}"), of)
        self.unmatched = free

    def attention_like(self) -> list[str]:
        """Softmaxes of PyTorch that no site is, as far as they look like attention: a square of queries and keys, or a
        row of weights over tokens."""
        return [
            f"{self.single.attention[i].path} {list(self.single.attention[i].probabilities.shape)}"
            for i in self.unmatched
        ]

    def target_layer(self):
        inspection = self.answers.header["inspection"]
        layer = inspection["targetLayer"]
        node = next((node for node in inspection["nodes"] if node["name"] == layer), None)
        if node is None or layer not in self.single.features:
            if "grad-cam" in self.answers:
                self.doubts.append(f"the target layer {layer!r} is no module of PyTorch, Grad-CAM was not compared")
            return
        self.layer = layer
        names = [node["name"] for node in inspection["nodes"]]
        if names.index(layer) < EARLY * len(names):
            self.doubts.append(
                f"the target layer {layer} is node {names.index(layer) + 1} of {len(names)}: much follows it"
            )
        if "grad-cam signed" not in self.answers:
            return

        def spatial(value: Tensor) -> Tensor:
            value = value.reshape(len(self.images), *node["shape"][1:])
            if node["layout"] == "channels-first":
                return value
            if node["layout"] == "channels-last":
                return value.permute(0, 3, 1, 2)
            grid = node["grid"]
            if grid["order"] is not None:
                # Which patch each entry is, sightline says; `places` looks whether that is true.
                value = value.flatten(1, -2)[:, grid["order"]]
            end = grid["prefix"] + grid["height"] * grid["width"]
            return value[:, grid["prefix"] : end].transpose(1, 2).unflatten(2, (grid["height"], grid["width"]))

        def cam(reference: eager.Reference) -> Tensor:
            feature = reference.features[layer]
            (gradient,) = eager.gradients(reference, self.target, [feature])
            return (spatial(gradient).mean((2, 3), keepdim=True) * spatial(feature)).sum(1)

        if self.check("grad-cam signed", self.answers.tensor("grad-cam signed"), cam) and "grad-cam" in self.answers:
            self.check("grad-cam", self.answers.tensor("grad-cam"), lambda reference: cam(reference).relu())
        if self.single.attention and node["layout"] == "tokens":
            self.places(spatial)

    def places(self, spatial):
        """Where the layer's places lie: without attention, a place's gradient of the image must lie at the place."""
        # Of one image alone PyTorch takes some gradients of batch norms wrong.
        reference = eager.without_mixing(self.model, self.images)
        value = reference.features.get(self.layer)
        if value is None:
            return
        map_ = spatial(value)
        rows, columns = map_.shape[2:]
        height, width = self.size
        # Neighbours look in too where the layer is convolved; tokens only at their own patch.
        reach = 1.0 if value.dim() == 3 else 3.0
        off = []
        for row, column in {
            (0, 0),
            (0, columns - 1),
            (rows - 1, 0),
            (rows // 2, columns // 2),
            (rows // 3, columns - 1),
            (rows - 1, columns // 3),
        }:
            (gradient,) = torch.autograd.grad(
                map_[0, :, row, column].square().sum(), reference.image, retain_graph=True
            )
            weight = gradient[0].abs().sum(0).square()
            if weight.sum() == 0:
                continue
            y = float((weight.sum(1) * (torch.arange(height) + 0.5)).sum() / weight.sum()) * rows / height
            x = float((weight.sum(0) * (torch.arange(width) + 0.5)).sum() / weight.sum()) * columns / width
            if abs(y - row - 0.5) > reach or abs(x - column - 0.5) > reach:
                off.append(f"({row}, {column}) of {rows} x {columns} looks at ({y - 0.5:.1f}, {x - 0.5:.1f})")
        if off:
            self.doubts.append(f"places of {self.layer}: {'; '.join(off)}")

    def token_maps(self):
        methods = [method for method in ("attention-rollout", "gradient-rollout", "gae") if method in self.answers]
        if not methods:
            return
        tokens = tokens_of(self.name, self.model, self.size)
        if tokens is None:
            self.doubts.append(
                f"{', '.join(methods)}: apply, but nothing is known of the tokens by itself: "
                f"{self.answers.header['inspection']['tokens']}"
            )
            return
        count = tokens.prefix + tokens.grid[0] * tokens.grid[1]
        batch = len(self.images)
        if any(attention.probabilities.shape[-2:] != (count, count) for attention in self.single.attention):
            self.doubts.append(
                f"{', '.join(methods)}: apply, but PyTorch has softmaxes of "
                f"{sorted({tuple(a.probabilities.shape) for a in self.single.attention})} for {tokens}"
            )
            return
        heads = [
            attention.probabilities.shape[0] // batch
            if attention.probabilities.dim() == 3
            else attention.probabilities.shape[1]
            for attention in self.single.attention
        ]

        def row(matrix: Tensor) -> Tensor:
            end = tokens.prefix + tokens.grid[0] * tokens.grid[1]
            one = matrix[:, tokens.row] if tokens.row is not None else matrix[:, tokens.prefix : end].mean(1)
            return one[:, tokens.prefix : end].unflatten(1, tokens.grid)

        def matrices(reference: eager.Reference) -> tuple[list[Tensor], list[Tensor]]:
            probabilities = [attention.probabilities for attention in reference.attention]

            def shaped(values: list[Tensor]) -> list[Tensor]:
                pairs = zip(values, heads, strict=True)
                return [value.reshape(batch, count_, *value.shape[-2:]) for value, count_ in pairs]

            return shaped(probabilities), shaped(eager.gradients(reference, self.target, probabilities))

        def mixed(matrix: Tensor) -> Tensor:
            joined = 0.5 * matrix + 0.5 * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
            return joined / joined.sum(-1, keepdim=True)

        def chained(steps: list[Tensor]) -> Tensor:
            result = torch.eye(steps[0].shape[-1], dtype=steps[0].dtype).expand(batch, -1, -1)
            for step in steps:
                result = step @ result
            return row(result)

        def of(method):
            def compute(reference):
                probabilities, slopes = matrices(reference)
                if method == "attention-rollout":
                    return chained([mixed(a.mean(1)) for a in probabilities])
                flow = [(a * g).relu().mean(1) for a, g in zip(probabilities, slopes)]
                if method == "gradient-rollout":
                    return chained([mixed(f) for f in flow])
                return chained([f + torch.eye(f.shape[-1], dtype=f.dtype) for f in flow])

            return compute

        for method in methods:
            self.check(method, self.answers.tensor(method), of(method))

    def run(self) -> dict:
        header = self.answers.header
        result = {"errors": header["errors"], "refused": header["refused"], "notes": header.get("notes")}
        spread = float(self.single.logits.detach().abs().max())
        if not np.isfinite(spread):
            return {**result, "status": "harness", "doubts": ["the scores of the random model are not finite"]}
        inspection = header.get("inspection")
        self.logits()
        if inspection:
            self.features()
            self.attention()
            self.target_layer()
            self.token_maps()
            tokens = inspection["tokens"]
            result |= {
                "targetLayer": inspection["targetLayer"],
                "tokens": tokens,
                "nodes": len(inspection["nodes"]),
                "compared": self.feature_count,
                "target": next(
                    (
                        {"shape": node["shape"], "layout": node["layout"], "grid": node["grid"]}
                        for node in inspection["nodes"]
                        if node["name"] == inspection["targetLayer"]
                    ),
                    None,
                ),
                "sites": [
                    [site["name"], site["heads"], site["tokens"], site["keys"], site["windows"], site["unsupported"]]
                    for site in inspection["attention"]
                ],
                "unknownAttention": inspection["unknownAttention"],
                "parallel": inspection["hasParallelAttention"],
                "read": {site: how for site, (_, how) in self.matched.items()},
                "softmaxes": len(self.single.attention),
                "unmatched": self.attention_like(),
                "applies": [method["name"] for method in inspection["methods"] if method["applies"]],
                "canBatch": inspection["canBatch"],
                "imagesInteract": inspection["imagesInteract"],
            }
        status = "refused" if "load" in header["errors"] else "wrong" if self.wrong else "right"
        if status != "refused" and (header["errors"] or not inspection):
            status = "wrong" if self.wrong else "error"
        return {
            **result,
            "status": status,
            "wrong": self.wrong,
            "worst": self.worst,
            "doubts": self.doubts,
            "right": self.right,
            "largest": spread,
        }
