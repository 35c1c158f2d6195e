// Every failure of the engine as one type: a stable code for programs, one sentence for people.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace sightline {

// The code is one of lib/support/errors.ts's ErrorCode; the message is a whole sentence; `details` holds what LibTorch said.
class EngineError : public std::exception {
 public:
  EngineError(std::string code, std::string message, std::string details = {})
      : code_(std::move(code)), message_(std::move(message)), details_(std::move(details)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& details() const { return details_; }

 private:
  std::string code_;
  std::string message_;
  std::string details_;
};

// What `error` says without C++ frames: LibTorch appends a backtrace, the interpreter a TorchScript one.
std::string plain_message(const std::exception& error);

// Turns the exception in flight into an EngineError. An EngineError passes as it is, running out of memory becomes
// OUT_OF_MEMORY, everything else gets `code` and the sentence `context: reason`.
EngineError translate_current_exception(const std::string& code, const std::string& context);

}  // namespace sightline
