// The operators that image classifiers are made of, by qualified name, sorted.
#pragma once

#include <span>
#include <string_view>

namespace sightline {

std::span<const std::string_view> allowed_operators();

}  // namespace sightline
