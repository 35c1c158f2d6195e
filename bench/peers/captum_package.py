"""captum's integrated gradients by its tutorial: zero baseline, Gauss-Legendre points."""

import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from peer import Job, Setting, peer


@peer("captum/integrated-gradients")
def integrated_gradients(setting: Setting) -> Job:
    method = IntegratedGradients(setting.model)
    targets = torch.tensor(setting.targets)

    def run() -> Tensor:
        # All steps at once, the default, take gigabytes; `internal_batch_size` is captum's own answer to that.
        return method.attribute(
            setting.images,
            target=targets,
            n_steps=setting.options["steps"],
            internal_batch_size=setting.options["internal_batch_size"],
        )

    def warm() -> None:
        with torch.no_grad():
            setting.model(setting.images)

    return Job(run, lambda attributions: attributions.sum(dim=1).detach().float().numpy(), warm)
