// The arithmetic of graphs of which it is known by hand, of operators that the archives of test/parity do not have.
#include <torch/csrc/jit/ir/irparser.h>

#include "engine/graph/flops.h"
#include "runner.h"

namespace sightline::test {

namespace {

std::optional<int64_t> flops_of(const std::string& text) {
  torch::jit::Graph graph;
  torch::jit::parseIR(text, &graph);
  return FlopCount(graph).total();
}

std::string einsum(const std::string& equation, const std::string& sizes) {
  return "graph(%a : Float(2, 3, 5), %b : Float(2, 5, 7)):\n"
         "  %equation : str = prim::Constant[value=\"" +
         equation +
         "\"]()\n"
         "  %none : NoneType = prim::Constant()\n"
         "  %pair : Tensor[] = prim::ListConstruct(%a, %b)\n"
         "  %y : Float(" +
         sizes +
         ") = aten::einsum(%equation, %pair, %none)\n"
         "  return (%y)\n";
}

}  // namespace

TEST("flops: an einsum of two tensors multiplies once for every combination of their axes") {
  EXPECT(flops_of(einsum("bij,bjk->bik", "2, 3, 7")) == std::optional<int64_t>(2 * 2 * 3 * 5 * 7));
  EXPECT(flops_of(einsum("bij, bjk -> b", "2")) == std::optional<int64_t>(2 * 2 * 3 * 5 * 7));
  EXPECT(flops_of(einsum("...ij,...jk->...ik", "2, 3, 7")) == std::nullopt);
}

TEST("flops: a transposed convolution spreads every place of its input over one window") {
  const std::string text =
      "graph(%x : Float(1, 4, 3, 3), %w : Float(4, 6, 2, 2)):\n"
      "  %none : NoneType = prim::Constant()\n"
      "  %two : int = prim::Constant[value=2]()\n"
      "  %pair : int[] = prim::ListConstruct(%two, %two)\n"
      "  %y : Float(1, 6, 6, 6) = aten::conv_transpose2d(%x, %w, %none, %pair)\n"
      "  return (%y)\n";
  EXPECT(flops_of(text) == std::optional<int64_t>(2 * 4 * 3 * 3 * 6 * 2 * 2));
}

TEST("flops: products of matrices and of vectors, with what is added to them not counted") {
  const std::string text =
      "graph(%a : Float(2, 3), %b : Float(3, 4), %c : Float(4), %v : Float(3)):\n"
      "  %one : int = prim::Constant[value=1]()\n"
      "  %y : Float(2, 4) = aten::addmm(%c, %a, %b, %one, %one)\n"
      "  %z : Float(2) = aten::mv(%a, %v)\n"
      "  %s : Float() = aten::dot(%v, %v)\n"
      "  return (%y, %z, %s)\n";
  EXPECT(flops_of(text) == std::optional<int64_t>(2 * (2 * 3 * 4 + 2 * 3 + 3)));
}

TEST("flops: what lies behind a value is what reads it, and a product of unknown sizes makes all of it unknown") {
  torch::jit::Graph graph;
  std::unordered_map<std::string, torch::jit::Value*> values;
  torch::jit::parseIR(
      "graph(%a : Float(2, 3), %b : Float(3, 4)):\n"
      "  %x : Float(2, 3) = aten::relu(%a)\n"
      "  %y : Float(2, 4) = aten::mm(%x, %b)\n"
      "  %z : Float(2, 4) = aten::relu(%y)\n"
      "  return (%z)\n",
      &graph, values);
  const FlopCount flops(graph);
  EXPECT(flops.after(values.at("x")) == std::optional<int64_t>(2 * 2 * 3 * 4));
  EXPECT(flops.after(values.at("y")) == std::optional<int64_t>(0));
  EXPECT(flops.bytes_after(values.at("x")) == 4 * (8 + 8));
  EXPECT(flops.bytes_after(values.at("y")) == 4 * 8);
  EXPECT(flops_of("graph(%a : Tensor, %b : Tensor):\n  %y : Tensor = aten::mm(%a, %b)\n  return (%y)\n") ==
         std::nullopt);
}

}  // namespace sightline::test
