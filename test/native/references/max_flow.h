// Written by references/make.py.
#pragma once

#include <vector>

namespace sightline::test {

inline const std::vector<float> kFlowOfEven{
    1.00000004, 1.00000004, 0.904225167, 1.00000004, 0.599725127, 0.849827172, 1.00000004, 1.00000004, 0.576177455,
};

inline const std::vector<float> kFlowOfPeaked{
    0.0606391878, 0.938381542, 0.000260741389, 0.740073159, 0.0287811611,
    0.272764674,  0.786834418, 0.421779148,    0.69012572,
};

inline const std::vector<float> kFlowOfResidual{
    0.65328941, 0.637488395, 0.935490716, 0.88705219, 0.653549131, 0.822802198, 0.98859589, 0.999999976, 0.794729139,
};

inline const std::vector<float> kFlowOfNearIdentity{
    0.994229558,  0.0366869058, 0.0412832556, 0.0290628931, 0.022103033,
    0.0409572064, 0.0426839471, 0.0369967385, 0.0343888264,
};

}  // namespace sightline::test
