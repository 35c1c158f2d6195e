"""Writes the headers beside it: what numpy, scipy, scikit-learn and networkx make of small inputs.

python test/native/references/make.py      needs numpy, scipy, scikit-learn and networkx
"""

from pathlib import Path

import networkx
import numpy
from scipy.ndimage import gaussian_filter
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import NMF, KernelPCA

HERE = Path(__file__).parent


def sequence(sizes, seed):
    """As in sequence.h."""
    values, state = numpy.empty(int(numpy.prod(sizes)), numpy.float32), seed
    for i in range(values.size):
        state = (state * 1664525 + 1013904223) % 2**32
        values[i] = (state >> 8) / 2**24
    return values.reshape(sizes)


def write(name, values):
    lines = [
        "// Written by references/make.py.",
        "#pragma once",
        "",
        "#include <vector>",
        "",
        "namespace sightline::test {",
        "",
    ]
    for key, array in values.items():
        whole = numpy.issubdtype(array.dtype, numpy.integer)
        texts = [str(int(v)) if whole else f"{float(v):.9g}" for v in array.ravel()]
        lines.append(f"inline const std::vector<{'int64_t' if whole else 'float'}> {key}{{")
        line = "   "
        for text in texts:
            if len(line) + len(text) > 116:
                lines.append(line)
                line = "   "
            line += f" {text},"
        lines += [line, "};", ""]
    lines += ["}  // namespace sightline::test", ""]
    (HERE / f"{name}.h").write_text("\n".join(lines))


def strongest_positive(scores):
    return -scores if abs(scores.min()) > abs(scores.max()) else scores


def centred_rows(features):
    rows = features.astype(numpy.float64).reshape(features.shape[0], -1).T
    return rows - rows.mean(0)


def principal(features):
    rows = centred_rows(features)
    direction = numpy.linalg.svd(rows, full_matrices=True)[2][0]
    return strongest_positive(rows @ direction)


def kernel(features):
    return strongest_positive(KernelPCA(n_components=1, kernel="sigmoid").fit_transform(centred_rows(features))[:, 0])


def components():
    many_positions = sequence((2, 5, 4, 6), 1)
    many_channels = sequence((2, 40, 3, 4), 2) * 4 - 2
    large = sequence((1, 8, 17, 18), 3) * 6 - 2
    write(
        "components",
        {
            "kPrincipalOfManyPositions": numpy.stack([principal(image) for image in many_positions]),
            "kPrincipalOfManyChannels": numpy.stack([principal(image) for image in many_channels]),
            "kKernelOfManyPositions": numpy.stack([kernel(image) for image in many_positions]),
            "kKernelOfManyChannels": numpy.stack([kernel(image) for image in many_channels]),
            "kKernelOfLarge": kernel(large[0]),
        },
    )


def spectrum():
    even, odd = (
        (sequence(sizes, seed) - 0.5).astype(numpy.float64)
        for sizes, seed in (((1, 2, 4, 4, 2), 4), ((1, 1, 3, 3, 2), 5))
    )

    def inverse(x, width):
        return numpy.fft.irfft2(x[..., 0] + 1j * x[..., 1], s=(x.shape[2], width), norm="ortho")

    image = sequence((2, 5, 6), 6).astype(numpy.float64)
    blurred = numpy.stack([gaussian_filter(plane, 1.2, mode="mirror", radius=2) for plane in image])
    write(
        "spectrum",
        {
            "kFromEvenSpectrum": inverse(even, 6),
            "kFromOddSpectrum": inverse(odd, 5),
            "kBlurred": blurred,
        },
    )


def attention(seed, sharpness, identity):
    """As in max_flow_test.cc: 4 blocks of 9 tokens, float32."""
    weights = sequence((4, 9, 9), seed)
    for _ in range(sharpness):
        weights = weights * weights
    weights = weights / weights.sum(-1, keepdims=True, dtype=numpy.float32)
    return weights * numpy.float32(1 - identity) + numpy.eye(9, dtype=numpy.float32) * numpy.float32(identity)


def flows(matrices, source):
    blocks, tokens, _ = matrices.shape
    graph = networkx.DiGraph()
    for level in range(blocks):
        for upper in range(tokens):
            for lower in range(tokens):
                capacity = round(float(matrices[level, upper, lower]) * 2**40)
                graph.add_edge((level + 1, upper), (level, lower), capacity=capacity)
    return numpy.array(
        [networkx.maximum_flow_value(graph, (blocks, source), (0, sink)) / 2**40 for sink in range(tokens)]
    )


def max_flow():
    write(
        "max_flow",
        {
            "kFlowOfEven": flows(attention(7, 0, 0), 0),
            "kFlowOfPeaked": flows(attention(8, 4, 0), 3),
            "kFlowOfResidual": flows(attention(9, 2, 0.5), 0),
            "kFlowOfNearIdentity": flows(attention(10, 1, 0.984375), 0),
        },
    )


def masks(seed, count, groups):
    """As in clustering_test.cc: noisy copies of few shapes, [count, 6, 7]."""
    shapes, noise = sequence((groups, 6, 7), seed), sequence((count, 6, 7), seed + 1000)
    shapes = shapes * shapes * shapes
    return numpy.stack([shapes[(i * i) % groups] + noise[i] * numpy.float32(0.125) for i in range(count)])


def clustering():
    values = {}
    for name, (seed, count, groups), threshold in [
        ("Tight", (11, 30, 7), 0.02),
        ("Loose", (12, 40, 10), 0.1),
        ("One", (13, 12, 3), 0.9),
    ]:
        flat = masks(seed, count, groups).reshape(count, -1).astype(numpy.float64)
        fitted = AgglomerativeClustering(
            n_clusters=None, distance_threshold=threshold, metric="cosine", linkage="complete"
        ).fit(flat)
        values[f"kLabelsOf{name}"] = fitted.labels_
    # Without any groups: the whole of the tree matters.
    flat = sequence((60, 42), 16).astype(numpy.float64)
    fitted = AgglomerativeClustering(n_clusters=None, distance_threshold=0.25, metric="cosine", linkage="complete").fit(
        flat
    )
    values["kLabelsOfRandom"] = fitted.labels_
    write("clustering", values)


def factorisation():
    values = {}
    for name, sizes, seed, components in [("Small", (12, 4, 5), 14, 3), ("Wide", (30, 3, 3), 15, 5)]:
        features = sequence(sizes, seed)
        features = features * features
        # In float64, from where scikit-learn starts for float32 features. The maps' numbers come first in its stream.
        rows = features.reshape(sizes[0], -1).astype(numpy.float64)
        scale = numpy.float64(numpy.float32(numpy.sqrt(rows.mean() / components)))
        random = numpy.random.RandomState(0)
        maps = random.standard_normal((components, rows.shape[1]))
        start = random.standard_normal((sizes[0], components))
        model = NMF(n_components=components, init="custom")
        vectors = model.fit_transform(
            rows,
            W=numpy.abs((scale * start).astype(numpy.float32)).astype(numpy.float64),
            H=numpy.abs((scale * maps).astype(numpy.float32)).astype(numpy.float64),
        )
        values[f"kVectorsOf{name}"] = vectors.T
        values[f"kMapsOf{name}"] = model.components_
    values["kFirstNormals"] = numpy.random.RandomState(0).standard_normal(12)
    values["kNormalsOf42"] = numpy.random.RandomState(42).standard_normal(1000)[990:]
    write("factorisation", values)


if __name__ == "__main__":
    components()
    spectrum()
    max_flow()
    clustering()
    factorisation()
