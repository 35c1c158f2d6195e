/** Why a difference is above the limit: by method and, where given, peer, models and options. */
const KINK =
  "float32 itself, at the kinks of ReLUs. In this ResNet-50, PyTorch's own gradient moves by 7e-3 when nothing but the memory layout changes (channels last, as " +
  'xplique hands images over): 1 of 9.6 million values before a ReLU changes its sign (test/parity/table/kinks.py). In the table below peer and sightline lie equally far from ' +
  'float64, or sightline is the nearer; the means of the differences are below 1e-3. (xplique and PAIR know float32 only: float64 is the same formula in PyTorch.)';
export const EXCEPTIONS = [
  ...['gradient', 'input-x-gradient', 'integrated-gradients'].map((method) => ({
    method,
    models: ['resnet50', 'resnet-tiny-shapes'],
    why: KINK,
  })),
  {
    method: 'transformer-attribution',
    why:
      "float32 itself: the rules divide relevance by sums that can be near zero, as they often are with random weights. The authors' own float32 map lies a hundred times " +
      "farther from their float64 map (0.4) than from sightline's.",
  },
];
