// Loads LibTorch's libraries by their absolute paths, so that the addon finds them in this process by their names. The
// addon itself then holds no path: it can be built on one machine and run on another, by whoever, beside any LibTorch.
// No LibTorch, no C++ library: it loads where nothing else does, and can say why.
#include <dlfcn.h>
#include <node_api.h>

namespace {

// An application's own libc is as old as LibTorch's, while the symbols of today's have newer versions. dlopen was libdl's
// until 2.34; Node itself loads libdl, so that it is there either way.
#if defined(__x86_64__) && defined(__GLIBC__)
__asm__(".symver dlopen,dlopen@GLIBC_2.2.5");
__asm__(".symver dlclose,dlclose@GLIBC_2.2.5");
__asm__(".symver dlerror,dlerror@GLIBC_2.2.5");
#elif defined(__aarch64__) && defined(__GLIBC__)
__asm__(".symver dlopen,dlopen@GLIBC_2.17");
__asm__(".symver dlclose,dlclose@GLIBC_2.17");
__asm__(".symver dlerror,dlerror@GLIBC_2.17");
#endif

napi_value refuse(napi_env env, const char* code, const char* message) {
  napi_throw_error(env, code, message);
  return nullptr;
}

// open(path, name): loads one library. What is loaded stays: code of it may run until the process ends.
napi_value open(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  char path[4096];
  char name[256];
  size_t length = 0;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok || count != 2 ||
      napi_get_value_string_utf8(env, arguments[0], path, sizeof path, &length) != napi_ok ||
      length + 1 >= sizeof path ||
      napi_get_value_string_utf8(env, arguments[1], name, sizeof name, &length) != napi_ok ||
      length + 1 >= sizeof name) {
    return refuse(env, "INVALID", "open takes the path of a library and its name");
  }
  // Whatever is loaded under that name is what the next library gets, wherever its own copy may lie.
  void* const before = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
  void* const library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return refuse(env, "NOT_LOADED", dlerror());
  if (before != nullptr) {
    dlclose(before);
    if (before != library) {
      dlclose(library);
      return refuse(env, "ANOTHER", "another LibTorch is already loaded in this process");
    }
  }
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function;
  if (napi_create_function(env, "open", NAPI_AUTO_LENGTH, open, nullptr, &function) != napi_ok ||
      napi_set_named_property(env, exports, "open", function) != napi_ok) {
    napi_throw_error(env, nullptr, "the loader cannot be set up");
    return nullptr;
  }
  return exports;
}
