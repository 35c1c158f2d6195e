// Written by references/make.py.
#pragma once

#include <vector>

namespace sightline::test {

inline const std::vector<int64_t> kLabelsOfTight{
    1, 0, 2, 3, 3, 2, 0, 1, 0, 2, 3, 3, 2, 0, 1, 0, 2, 3, 3, 2, 0, 1, 0, 2, 3, 3, 2, 0, 1, 0,
};

inline const std::vector<int64_t> kLabelsOfLoose{
    0, 4, 2, 1, 3, 5, 3, 1, 2, 4, 0, 4, 2, 1, 3, 5, 3, 1, 2, 4,
    0, 4, 2, 1, 3, 5, 3, 1, 2, 4, 0, 4, 2, 1, 3, 5, 3, 1, 2, 4,
};

inline const std::vector<int64_t> kLabelsOfOne{
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};

inline const std::vector<int64_t> kLabelsOfRandom{
    1, 1,  3, 13, 9, 8,  10, 11, 13, 4, 6, 2,  8, 10, 1, 12, 10, 4,  6, 0, 3,  2, 15, 2,  8, 8, 2, 6,  11, 7,
    7, 14, 7, 15, 9, 12, 1,  11, 15, 1, 2, 10, 4, 4,  1, 5,  10, 12, 0, 3, 12, 3, 5,  14, 4, 9, 0, 10, 3,  9,
};

}  // namespace sightline::test
