"""Run by of_relevance.py: LXT patches classes for good, so that each rule gets an interpreter. Usage: lxt_maps.py RULE
MODEL FILE"""

import sys

from subjects import CASES
import relevance_lxt as peer
import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
rule, name, path = sys.argv[1:]
subject = CASES[name]().for_attention()
peer.patch(rule)
peer.monkey_patch_zennit()
save_file({gammas: peer.relevance(subject, peer.GAMMAS[gammas]).contiguous() for gammas in ("plain", "gamma")}, path)
