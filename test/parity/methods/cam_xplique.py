"""Run by cam.py under an interpreter that has xplique: its weights for given activations and gradients [B, h, w, C]."""

import os
import sys

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import numpy as np
import tensorflow as tf
from xplique.attributions import FEM, GradCAMPP

given, found = sys.argv[1:]
with np.load(given) as tensors:
    activations, gradients = tf.constant(tensors["activations"]), tf.constant(tensors["gradients"])
weights, masks = FEM._compute_weights(activations, tf.constant(2.0))
np.savez(
    found,
    **{
        "grad-cam++": GradCAMPP._apply_weights(GradCAMPP._compute_weights(gradients, activations), activations).numpy(),
        "fem": FEM._apply_weights(weights, masks).numpy(),
    },
)
