#include "engine/graph/one_run.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/jit/ir/ir_views.h>
#include <torch/csrc/jit/runtime/interpreter.h>
#include <torch/csrc/jit/runtime/profiling_record.h>

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <vector>

#include "engine/graph/graph_ops.h"

namespace sightline {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::LoopView;
using torch::jit::Node;
using torch::jit::ProfilingRecord;
using torch::jit::Stack;
using torch::jit::Value;

namespace {

// Numbers tensors and their memory. Weak references keep the addresses from being given to others, and hold no memory.
class Identities {
 public:
  void record(const Value* value, const c10::IValue& seen) {
    std::vector<TensorIdentity> found;
    collect(seen, found);
    if (!found.empty()) numbers_[value->unique()] = std::move(found);
  }

  TensorIdentities take() { return std::move(numbers_); }

 private:
  void collect(const c10::IValue& seen, std::vector<TensorIdentity>& found) {
    if (seen.isTensor()) {
      const auto& tensor = seen.toTensor();
      if (!tensor.defined()) return;
      const int64_t of_tensor =
          number(tensor.unsafeGetTensorImpl(), [&] { tensors_.emplace_back(tensor.getIntrusivePtr()); });
      const bool has_storage = tensor.has_storage();
      const int64_t of_memory = has_storage
                                    ? number(tensor.storage().unsafeGetStorageImpl(),
                                             [&] { memories_.push_back(tensor.storage().getWeakStorageImpl()); })
                                    : of_tensor;
      found.push_back({of_tensor, of_memory});
    } else if (seen.isList()) {
      for (const c10::IValue& each : seen.toListRef()) collect(each, found);
    } else if (seen.isTuple()) {
      for (const c10::IValue& each : seen.toTupleRef().elements()) collect(each, found);
    } else if (seen.isGenericDict()) {
      for (const auto& each : seen.toGenericDict()) collect(each.value(), found);
    }
  }

  template <class Keep>
  int64_t number(const void* address, Keep keep) {
    const auto [place, is_new] = known_.emplace(address, static_cast<int64_t>(known_.size()));
    if (is_new) keep();
    return place->second;
  }

  TensorIdentities numbers_;
  std::unordered_map<const void*, int64_t> known_;
  std::vector<c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>> tensors_;
  std::vector<c10::weak_intrusive_ptr<c10::StorageImpl>> memories_;
};

// Whether a backward pass that comes to the operator that made it fails.
bool has_no_derivative(const at::Tensor& tensor) {
  return dynamic_cast<torch::autograd::NotImplemented*>(tensor.grad_fn().get()) != nullptr;
}

// Puts observers into a graph, which write down what runs while it runs.
class Writer {
 public:
  Writer(ProfilingRecord& observed) : observed_(observed) {
    for (Value* input : observed_.graph()->inputs()) written_[input] = copied_input(input);
    observe(observed_.graph()->block());
  }

  OneRun finish() {
    for (Value* output : observed_.graph()->outputs()) straight_->registerOutput(written_.at(output));
    return {straight_, identities_.take()};
  }

  void set_input(size_t i, const at::Tensor& tensor) {
    straight_->inputs()[i]->setType(c10::TensorType::create(tensor));
    identities_.record(straight_->inputs()[i], tensor);
  }

 private:
  using Values = at::ArrayRef<Value*>;

  Value* copied_input(const Value* input) {
    Value* copy = straight_->addInput();
    copy->copyMetadata(const_cast<Value*>(input));
    return copy;
  }

  // A node that is handed what `values` are whenever it is run.
  Node* observer(Values values, std::function<void(at::ArrayRef<c10::IValue>)> look) {
    auto* node = observed_.createProfileIValueNode(values);
    while (!node->outputs().empty()) node->eraseOutput(node->outputs().size() - 1);
    node->setCallback([count = values.size(), look = std::move(look)](Stack& stack) {
      torch::jit::pop(stack);  // the number of the run
      const auto seen = torch::jit::pop(stack, count);
      look(seen);
    });
    return node;
  }

  // What stood for `from` stands for `to` from now on. All are read before any is set: loops swap their values.
  void pass_on(Values from, Values to) {
    std::vector<Value*> now;
    for (Value* value : from) now.push_back(written_.at(value));
    for (size_t i = 0; i < now.size(); ++i) written_[to[i]] = now[i];
  }

  void write(Node* node, at::ArrayRef<c10::IValue> outputs) {
    Node* copy =
        straight_->appendNode(straight_->createClone(node, [this](Value* value) { return written_.at(value); }));
    for (size_t i = 0; i < outputs.size(); ++i) {
      written_[node->outputs()[i]] = copy->outputs()[i];
      identities_.record(copy->outputs()[i], outputs[i]);
      if (!outputs[i].isTensor()) continue;
      const auto& tensor = outputs[i].toTensor();
      copy->outputs()[i]->setType(tensor.defined() ? c10::TensorType::create(tensor) : c10::TensorType::get());
      if (tensor.defined() && has_no_derivative(tensor)) copy->i_(no_derivative(), 1);
    }
  }

  void observe(Block* block) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      Node* node = *it++;
      if (node->kind() == c10::prim::If) {
        for (Block* branch : node->blocks()) {
          observe(branch);
          branch->appendNode(observer({}, [this, node, branch](auto) { pass_on(branch->outputs(), node->outputs()); }));
        }
      } else if (node->kind() == c10::prim::Loop) {
        observe_loop(node);
      } else {
        // Every copy of a name gets a number of its own, which LibTorch looks for from 1 on: turns would take longer and longer.
        for (Value* output : node->outputs()) output->setDebugName("");
        observer(node->outputs(), [this, node](auto outputs) { write(node, outputs); })->insertAfter(node);
      }
    }
  }

  void observe_loop(Node* node) {
    Block* body = LoopView(node).bodyBlock();
    observe(body);
    observer({}, [this, node](auto) {
      const LoopView loop(node);
      pass_on(loop.carriedInputs(), loop.bodyCarriedInputs());
      pass_on(loop.carriedInputs(), loop.carriedOutputs());  // where it takes no turn
    })->insertBefore(node);
    Value* turn = LoopView(node).currentTripCount();
    body->prependNode(observer({turn}, [this, turn](auto seen) {
      const torch::jit::WithInsertPoint end(straight_->block());
      written_[turn] = straight_->insertConstant(seen[0]);
    }));
    body->appendNode(observer({}, [this, node](auto) {
      const LoopView loop(node);
      const std::vector<Value*> results(loop.bodyCarriedOutputs().begin(), loop.bodyCarriedOutputs().end());
      pass_on(results, loop.carriedOutputs());
      pass_on(loop.carriedOutputs(), loop.bodyCarriedInputs());
    }));
  }

  ProfilingRecord& observed_;
  std::shared_ptr<Graph> straight_ = std::make_shared<Graph>();
  Identities identities_;
  std::unordered_map<Value*, Value*> written_;  // of the observed graph: what stands for it in the straight one
};

}  // namespace

OneRun write_down_one_run(const std::shared_ptr<Graph>& graph, Stack& stack) {
  // LibTorch makes observing nodes of a record only, which comes with observers of its own.
  const auto record = ProfilingRecord::instrumentGraph(graph);
  ProfilingRecord::removeProfileCounter(record->graph()->block());
  ProfilingRecord::removeProfilingNodes(record->graph()->block());
  Writer writer(*record);
  for (size_t i = 0; i < stack.size(); ++i) {
    if (stack[i].isTensor()) writer.set_input(i, stack[i].toTensor());
  }
  const torch::jit::Code code(record->graph(), "one run");
  torch::jit::InterpreterState(code).run(stack);
  return writer.finish();
}

}  // namespace sightline
