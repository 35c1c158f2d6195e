// How much attention can flow from one token down to each token of the image, as a maximum flow.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace sightline {

// `matrices`: each [batch, N, N], the first block's first; entry [i, j] is the capacity of the edge from token i above a
// block to token j below it. Gives [batch, N]: for each token below the first block, as the only sink, the maximum flow
// from token `source` above the last block (Abnar & Zuidema, ACL 2020). Exact up to the 2^-45 of the largest entry to
// which capacities are rounded; negative capacities count as zero. Values that are not finite throw EngineError.
//
// Computed on the CPU, on at::get_num_threads() threads; the result is on the matrices' device, in float32. `cancelled`
// is asked between sinks, never by two threads at once; when it says yes, EngineError ABORTED is thrown.
at::Tensor attention_flow(const std::vector<at::Tensor>& matrices, int64_t source,
                          const std::function<bool()>& cancelled = {});

}  // namespace sightline
