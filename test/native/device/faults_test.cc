// Faults made on purpose: the emulated device has to catch each of them.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <map>
#include <string>

#include "device/device.h"
#include "device/memory.h"
#include "engine/device/transfer.h"
#include "runner.h"

namespace sightline::test {

namespace {

at::Tensor numbers() { return at::arange(6, at::kFloat).view({2, 3}); }

// What the operator said when it refused; empty where it did not.
std::string refusal(const std::function<at::Tensor()>& work) {
  try {
    work();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return {};
}

}  // namespace

TEST("device: a constant on the wrong side is refused, a number is not") {
  start_device();
  const auto x = numbers().to(emulated());
  EXPECT(refusal([&] { return x + at::ones({3}); }).find("lies on cpu") != std::string::npos);
  EXPECT(refusal([&] { return x.index_select(1, at::arange(2)); }).find("lies on cpu") != std::string::npos);
  EXPECT(refusal([&] { return at::stack({x, numbers()}); }).find("lies on cpu") != std::string::npos);
  EXPECT(refusal([&] { return x + numbers().to(emulated(1)); }).find("emulated:1") != std::string::npos);
  EXPECT((x + at::ones({})).to(at::kCPU).equal(numbers() + 1));
}

// The engine's own way between host and device with one wait left out.
enum class Left { Nothing, Upload, Compute, Download, NoteOfUpload, NoteOfDownload };

class Careless : public Transfer {
 public:
  explicit Careless(Left left)
      : left_(left),
        streams_(at::kPrivateUse1),
        upload_(streams_.getStreamFromGlobalPool(emulated())),
        download_(streams_.getStreamFromGlobalPool(emulated())) {}
  bool is_asynchronous() const override { return true; }
  at::Tensor stage(const at::Tensor& host) override {
    return at::empty(host.sizes(), host.options().pinned_memory(true)).copy_(host);
  }
  at::Tensor send(const at::Tensor& staged) override { return staged.to(emulated(), /*non_blocking=*/true, true); }
  at::Tensor beside(const std::function<at::Tensor()>& work) override {
    const auto compute = streams_.getStream(emulated());
    c10::Event is_ready(at::kPrivateUse1);
    at::Tensor result;
    {
      const c10::StreamGuard on_upload(upload_);
      result = work();
      is_ready.record(upload_);
    }
    if (left_ != Left::Upload) is_ready.block(compute);
    if (left_ != Left::NoteOfUpload) result.record_stream(compute);
    return result;
  }
  Arrival fetch(std::vector<at::Tensor> tensors) override {
    c10::Event is_computed(at::kPrivateUse1);
    is_computed.record(streams_.getStream(emulated()));
    const auto is_there = std::make_shared<c10::Event>(at::kPrivateUse1);
    {
      const c10::StreamGuard on_download(download_);
      if (left_ != Left::Compute) is_computed.block(download_);
      for (auto& tensor : tensors) {
        auto landing = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
        landing.copy_(tensor, /*non_blocking=*/true);
        if (left_ != Left::NoteOfDownload) tensor.record_stream(download_);
        tensor = std::move(landing);
      }
      is_there->record(download_);
    }
    if (left_ == Left::Download) return {std::move(tensors), [] {}};
    return {std::move(tensors), [is_there] { is_there->synchronize(); }};
  }

 private:
  Left left_;
  c10::impl::VirtualGuardImpl streams_;
  c10::Stream upload_, download_;
};

// (x + 1) * 2, the sum on the stream of uploads as preprocessing is; two batches, so that memory finds its next user.
at::Tensor carried(Transfer& transfer) {
  at::Tensor last;
  for (int batch = 0; batch < 2; ++batch) {
    auto there = transfer.beside([&] { return transfer.send(transfer.stage(numbers())) + 1; });
    auto computed = there * 2;
    there.reset();
    const auto arrival = transfer.fetch({std::move(computed)});
    arrival.wait();
    last = arrival.tensors.at(0);
  }
  return last;
}

TEST("device: the engine's transfer forgets no wait") {
  start_device();
  reset_waits();
  EXPECT(carried(*transfer_for(emulated())).equal((numbers() + 1) * 2));
  Careless complete(Left::Nothing);
  EXPECT(carried(complete).equal((numbers() + 1) * 2));
  EXPECT(waits().faults.empty(), waits().text());
  EXPECT_EQUAL(waits().read(), int64_t{0}, waits().text());
}

// Whether every one of the values that came is nobody's.
bool is_lost(Left left) {
  reset_waits();
  Careless transfer(left);
  return carried(transfer).isnan().all().item<bool>();
}

TEST("device: a wait that is forgotten shows as values that are not there") {
  start_device();
  EXPECT(is_lost(Left::Upload), "the computing stream did not wait for the upload");
  EXPECT(waits().text().find("aten::mul") != std::string::npos, waits().text());
  EXPECT(waits().text().find("without waiting for it") != std::string::npos, waits().text());
  EXPECT(is_lost(Left::Compute), "the download did not wait for what is computed");
  EXPECT(waits().text().find("a copy on") != std::string::npos, waits().text());
  EXPECT(is_lost(Left::Download), "the host did not wait for the download");
  reset_waits();
}

TEST("device: memory that is freed while another stream uses it is caught") {
  start_device();
  EXPECT(is_lost(Left::NoteOfDownload), "the download reads memory that is another's by then");
  EXPECT(waits().text().find("not noted by record_stream") != std::string::npos, waits().text());
  // What the host did is done in time here, as it would mostly be on a GPU: the fault is noted all the same.
  is_lost(Left::NoteOfUpload);
  EXPECT(waits().text().find("not noted by record_stream") != std::string::npos, waits().text());
  reset_waits();
}

TEST("device: page-locked memory that is written again before its copy is done carries the new values") {
  start_device();
  const auto transfer = transfer_for(emulated());
  auto staged = transfer->stage(numbers());
  const auto there = transfer->send(staged);
  staged.fill_(7);
  EXPECT((there * 1).to(at::kCPU).eq(7).all().item<bool>());
}

TEST("device: each hidden read-back is counted by its operator") {
  start_device();
  const auto x = numbers().to(emulated());
  reset_waits();
  const auto y = x * 2 + x.sum();
  EXPECT_EQUAL(waits().read(), int64_t{0}, waits().text());
  EXPECT_EQUAL(y.max().item<float>(), 25.0f);
  EXPECT(y.nonzero().defined());
  EXPECT(y.index({y > 20}).defined());
  EXPECT(y.to(at::kCPU).defined());
  const auto seen = waits().read_backs;
  const std::map<std::string, int64_t> expected{{"aten::index", 1}, {"aten::nonzero", 1}, {"copy", 1}, {"item", 1}};
  EXPECT(seen == expected, waits().text());
}

TEST("device: memory is counted, and the host that touches it ends") {
  start_device();
  reset_memory_figures();
  const auto before = memory_figures().allocated;
  const auto x = numbers().to(emulated());
  EXPECT_EQUAL(memory_figures().allocated - before, int64_t{24});
  EXPECT_EQUAL(memory_figures().allocations, int64_t{1});
  const auto child = fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    _exit(*static_cast<const volatile char*>(x.storage().data()) == 0 ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQUAL(waitpid(child, &status, 0), child);
  EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "the host read the device's memory");
}

}  // namespace sightline::test
