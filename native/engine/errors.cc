#include "engine/errors.h"

#include <ATen/core/interned_strings.h>
#include <c10/util/Exception.h>

#include <new>

namespace sightline {

namespace {

std::string trimmed(std::string text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return {};
  const auto last = text.find_last_not_of(" \t\r\n");
  return text.substr(first, last - first + 1);
}

bool is_out_of_memory(const std::string& message) {
  // The CPU allocator throws a plain c10::Error, so only its text tells.
  return message.find("DefaultCPUAllocator") != std::string::npos ||
         message.find("can't allocate memory") != std::string::npos;
}

bool is_out_of_device_memory(const std::string& message) {
  // What takes memory past the caching allocator (page-locked buffers, cuBLAS, cuDNN) has no exception of its own.
  return message.find("CUDA error: out of memory") != std::string::npos ||
         message.find("CUBLAS_STATUS_ALLOC_FAILED") != std::string::npos ||
         message.find("CUDNN_STATUS_ALLOC_FAILED") != std::string::npos;
}

}  // namespace

std::string plain_message(const std::exception& error) {
  std::string text;
  if (const auto* torch_error = dynamic_cast<const c10::Error*>(&error)) {
    text = torch_error->what_without_backtrace();
  } else {
    text = error.what();
  }
  // The interpreter wraps "RuntimeError: reason" behind a TorchScript traceback: keep the reason.
  const auto wrapped = text.rfind("RuntimeError: ");
  if (wrapped != std::string::npos) text = text.substr(wrapped + 14);
  const auto frames = text.find("\nException raised from");
  if (frames != std::string::npos) text = text.substr(0, frames);
  return trimmed(text);
}

EngineError translate_current_exception(const std::string& code, const std::string& context) {
  try {
    throw;
  } catch (const EngineError& error) {
    return error;
  } catch (const c10::OutOfMemoryError& error) {
    return {"OUT_OF_MEMORY", context + ": the device ran out of memory; use smaller batches (maxBatch) or images.",
            plain_message(error)};
  } catch (const std::bad_alloc&) {
    return {"OUT_OF_MEMORY", context + ": the process ran out of memory; use smaller batches (maxBatch) or images."};
  } catch (const std::exception& error) {
    const auto reason = plain_message(error);
    if (is_out_of_device_memory(reason)) {
      return {"OUT_OF_MEMORY", context + ": the device ran out of memory; use smaller batches (maxBatch) or images.",
              reason};
    }
    if (is_out_of_memory(reason)) {
      return {"OUT_OF_MEMORY", context + ": the process ran out of memory; use smaller batches (maxBatch) or images.",
              reason};
    }
    const auto end_of_line = reason.find('\n');
    return {code, context + ": " + reason.substr(0, end_of_line), reason};
  } catch (...) {
    return {"INTERNAL", context + ": an exception of unknown type."};
  }
}

}  // namespace sightline
