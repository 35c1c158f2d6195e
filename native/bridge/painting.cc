#include "bridge/painting.h"

#include "images/paint.h"

namespace sightline {

namespace {

// libuv's pool, where sharp works too: no LibTorch is involved, and the devices' own threads have better to do.
class PaintWorker : public Napi::AsyncWorker {
 public:
  PaintWorker(Napi::Env env, Napi::Object request)
      : Napi::AsyncWorker(env, "sightline.paint"), deferred_(env), request_(Napi::Persistent(request)) {
    const auto taps = [&](const char* name) {
      const auto axis = request.Get(name).As<Napi::Object>();
      return AxisTaps{axis.Get("low").As<Napi::Int32Array>().Data(), axis.Get("high").As<Napi::Int32Array>().Data(),
                      axis.Get("mix").As<Napi::Float32Array>().Data()};
    };
    const auto number = [&](const char* name) { return request.Get(name).As<Napi::Number>(); };
    painting_ = {
        .picture = request.Get("picture").As<Napi::Uint8Array>().Data(),
        .width = number("width").Int64Value(),
        .map = request.Get("map").As<Napi::Float32Array>().Data(),
        .columns = number("columns").Int64Value(),
        .across = taps("across"),
        .down = taps("down"),
        .left = number("left").Int64Value(),
        .right = number("right").Int64Value(),
        .top = number("top").Int64Value(),
        .bottom = number("bottom").Int64Value(),
        .smallest = number("smallest").FloatValue(),
        .stretch = number("stretch").FloatValue(),
        .colours = request.Get("colours").As<Napi::Uint8Array>().Data(),
        .mixtures = request.Get("mixtures").As<Napi::Uint8Array>().Data(),
    };
  }

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { paint(painting_); }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  // Keeps the arrays that `painting_` points into.
  Napi::ObjectReference request_;
  Painting painting_{};
};

}  // namespace

Napi::Value paint_from_js(const Napi::CallbackInfo& info) {
  auto* worker = new PaintWorker(info.Env(), info[0].As<Napi::Object>());
  const auto promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace sightline
