#include "engine/guard/object_types.h"

#include <unordered_set>

#include "engine/errors.h"

namespace sightline {

namespace {

// LibTorch destroys nested values by recursion, so deeper ones would have ended the process by now.
constexpr int kDeepest = 512;

class Walk {
 public:
  explicit Walk(const std::string& path) : path_(path) {}

  void object(const c10::intrusive_ptr<c10::ivalue::Object>& object, const std::string& name, int depth) {
    if (depth > kDeepest) refuse(name, "is nested too deep");
    if (!seen_.insert(object.get()).second) return;
    const auto type = object->type();
    const auto count = type->numAttributes();
    if (object->slots().size() != count) refuse(name, "has another number of attributes than its class");
    for (size_t i = 0; i < count; ++i) {
      const auto attribute = (name.empty() ? "" : name + ".") + type->getAttributeName(i);
      value(object->getSlot(i), type->getAttribute(i), attribute, depth + 1);
    }
  }

 private:
  void value(const c10::IValue& value, const c10::TypePtr& declared, const std::string& name, int depth) {
    if (depth > kDeepest) refuse(name, "is nested too deep");
    // The usual case first: deriving a tensor's own type costs more than the rest of the walk.
    const bool fits = value.isTensor() ? declared->kind() == c10::TypeKind::TensorType ||
                                             c10::TensorType::get()->isSubtypeOf(*declared)
                                       : value.type()->isSubtypeOf(*declared);
    if (!fits) refuse(name, "is of another type than the " + declared->repr_str() + " that the code declares");
    if (value.isObject()) {
      object(value.toObject(), name, depth);
    } else if (value.isTuple()) {
      const auto types = declared->cast<c10::TupleType>();
      const auto& elements = value.toTupleRef().elements();
      for (size_t i = 0; i < elements.size(); ++i)
        element(elements[i], types ? types->elements()[i] : nullptr, name, depth);
    } else if (value.isList()) {
      const auto type = value.toList().elementType();
      // Lists of numbers hold nothing but numbers, whatever the archive says of them.
      if (value.isIntList() || value.isDoubleList() || value.isBoolList() || value.isTensorList()) return;
      for (const auto& each : value.toListRef()) element(each, type, name, depth);
    } else if (value.isGenericDict()) {
      const auto dict = value.toGenericDict();
      for (const auto& entry : dict) {
        element(entry.key(), dict.keyType(), name, depth);
        element(entry.value(), dict.valueType(), name, depth);
      }
    }
  }

  void element(const c10::IValue& element, const c10::TypePtr& type, const std::string& name, int depth) {
    value(element, type ? type : c10::AnyType::get(), name + "[]", depth + 1);
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& reason) {
    throw EngineError("UNTRUSTED_ARCHIVE", path_ + " is damaged or forged: in data.pkl, " +
                                               (name.empty() ? "the module" : name) + " " + reason +
                                               "; export the model again.");
  }

  const std::string& path_;
  std::unordered_set<const void*> seen_;
};

}  // namespace

void check_object_types(const torch::jit::Module& module, const std::string& path) {
  Walk(path).object(module._ivalue(), "", 0);
}

}  // namespace sightline
