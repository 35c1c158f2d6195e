// Operations that read the class asked for, or what is known of the model.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include "engine/errors.h"
#include "engine/steps/operation_builders.h"

namespace sightline {

namespace {

// The row of the class asked for, less that of the class it is compared with: [classes, ...] to [batch, ...].
at::Tensor class_row(const at::Tensor& rows, const StepContext& context) {
  auto row = rows.index_select(0, context.targets);
  if (!context.against.defined()) return row;
  const auto other = rows.index_select(0, context.against.clamp_min(0));
  return at::where(per_image(context.against >= 0, row), row - other, row);
}

// The scores of the class asked for and of the one it is compared with (0 where there is none): [batch, 2].
at::Tensor asked_scores(const at::Tensor& scores, const StepContext& context) {
  const auto of = scores.gather(1, context.targets.unsqueeze(1));
  if (!context.against.defined()) return at::cat({of, at::zeros_like(of)}, 1);
  const auto other = scores.gather(1, context.against.clamp_min(0).unsqueeze(1));
  return at::cat({of, at::where(context.against.unsqueeze(1) >= 0, other, at::zeros_like(other))}, 1);
}

const SiteInfo& site_of(const Attributes& set, const StepContext& context) {
  return context.network->attention.at(static_cast<size_t>(set.integer("site")));
}

at::Tensor found(const at::Tensor& constant, const char* what, const std::string& where) {
  if (constant.defined()) return constant.to(at::kFloat);
  throw EngineError("METHOD_NOT_APPLICABLE",
                    std::string("The graph does not tell the ") + what + " of '" + where + "'.");
}

}  // namespace

Operations model_operations() {
  return {
      {"bias", with_context({0, 0},
                            [](const Tensors&, const Attributes& set, const StepContext& context) {
                              for (const auto& node : context.network->nodes) {
                                if (node.name == set.text("node")) return Tensors{found(node.bias, "bias", node.name)};
                              }
                              throw EngineError("UNKNOWN_NODE", "The model has no node '" + set.text("node") + "'.");
                            })},
      {"head_weight", with_context({0, 0},
                                   [](const Tensors&, const Attributes&, const StepContext& context) {
                                     if (!context.network->head) {
                                       throw EngineError("METHOD_NOT_APPLICABLE",
                                                         "The model has no linear head on a pooled feature.");
                                     }
                                     return Tensors{context.network->head->weight.to(at::kFloat)};
                                   })},
      {"norm_weight", with_context({0, 0},
                                   [](const Tensors&, const Attributes& set, const StepContext& context) {
                                     const auto& site = site_of(set, context);
                                     return Tensors{found(site.norm_weight, "norm behind the attention", site.name)};
                                   })},
      {"output_projection", with_context({0, 0},
                                         [](const Tensors&, const Attributes& set, const StepContext& context) {
                                           const auto& site = site_of(set, context);
                                           return Tensors{
                                               found(site.output_projection, "output projection", site.name)};
                                         })},

      {"asked", of_target(with_context({1, 1},
                                       [](const Tensors& in, const Attributes&, const StepContext& context) {
                                         return Tensors{asked_scores(in[0], context)};
                                       }))},
      {"class_row",
       of_target(with_context({1, 1}, [](const Tensors& in, const Attributes&,
                                         const StepContext& context) { return Tensors{class_row(in[0], context)}; }))},
      // The score of the class asked for: [batch, classes] to [batch].
      {"score", of_target(with_context({1, 1},
                                       [](const Tensors& in, const Attributes&, const StepContext& context) {
                                         const auto scores = asked_scores(in[0], context);
                                         return Tensors{scores.select(1, 0) - scores.select(1, 1)};
                                       }))},
      {"target", of_target(with_context({0, 0},
                                        [](const Tensors&, const Attributes&, const StepContext& context) {
                                          return Tensors{context.targets.to(at::kFloat)};
                                        }))},
  };
}

}  // namespace sightline
