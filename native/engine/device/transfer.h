// Between the host and a device: images there, results back, beside what the device computes.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace sightline {

// A batch's results on their way to the host.
struct Arrival {
  std::vector<at::Tensor> tensors;  // on the CPU, in the order in which they were fetched; good to read after `wait`
  std::function<void()> wait;       // blocks until they are there; empty where they are there already
};

// Used by the device's worker thread alone, with that device current.
class Transfer {
 public:
  virtual ~Transfer() = default;

  // Whether copies take place after the call. If not, `stage` and `send` are of no use: the caller's memory is read
  // where it lies.
  virtual bool is_asynchronous() const = 0;
  // A copy of a CPU tensor from which `send` copies in the background; the tensor's own memory may go afterwards.
  virtual at::Tensor stage(const at::Tensor& host) = 0;
  // Starts to copy a staged tensor to the device. The staged tensor may go; what it is needs not be waited for by what
  // runs inside `beside`.
  virtual at::Tensor send(const at::Tensor& staged) = 0;
  // Runs `work`, which sends and prepares a batch, beside what the device computes already. What it returns, if it is
  // defined, is ready for whatever the device is asked to compute from now on.
  virtual at::Tensor beside(const std::function<at::Tensor()>& work) = 0;
  // Starts to copy what the device has been asked to compute so far to the host. Tensors on the CPU pass as they are.
  virtual Arrival fetch(std::vector<at::Tensor> tensors) = 0;
};

// For the CPU nothing is copied; for a GPU streams of their own carry uploads and downloads.
std::unique_ptr<Transfer> transfer_for(at::Device device);

}  // namespace sightline
