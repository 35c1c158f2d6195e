"""The plain forward pass, as PyTorch's users run it for inference."""

import torch

from peer import Job, Setting, peer


def _forward(model, images) -> Job:
    def run():
        with torch.inference_mode():
            return model(images)

    return Job(run, lambda logits: logits.float().numpy())


@peer("eager")
def eager(setting: Setting) -> Job:
    return _forward(setting.model, setting.images)


@peer("eager-channels-last")
def eager_channels_last(setting: Setting) -> Job:
    # The input's conversion is left out of the time, in the peer's favour.
    return _forward(
        setting.model.to(memory_format=torch.channels_last), setting.images.to(memory_format=torch.channels_last)
    )


@peer("eager-bf16")
def eager_bf16(setting: Setting) -> Job:
    return _forward(setting.model.to(torch.bfloat16), setting.images.to(torch.bfloat16))


@peer("eager-bf16-channels-last")
def eager_bf16_channels_last(setting: Setting) -> Job:
    model = setting.model.to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    return _forward(model, setting.images.to(dtype=torch.bfloat16, memory_format=torch.channels_last))


@peer("compile")
def compiled(setting: Setting) -> Job:
    job = _forward(torch.compile(setting.model), setting.images)
    # Compiles now: a compiler that is missing or fails is then told when the job is loaded, and is never timed.
    job.run()
    return job
