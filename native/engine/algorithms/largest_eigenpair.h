// One eigenvector where all of them would take too long.
#pragma once

#include <ATen/core/Tensor.h>

namespace sightline {

struct Eigenpair {
  double value = 0;
  at::Tensor vector;  // [n], of length 1
};

// The algebraically largest eigenvalue of a symmetric matrix [n, n] in double, with its vector: of a large matrix by
// Lanczos' iteration, to a residual of 1e-12 of the eigenvalue. Repeats to the bit.
Eigenpair largest_eigenpair(const at::Tensor& matrix);

}  // namespace sightline
