// Written by `npm run document` from the doc comments of methods, metrics and their options. Do not edit.
export default {
  "common": {
    "targets": "Classes to explain, one map each, all from one run of the model: indices, labels, `top1` (the default), `topK`. Of a model that returns masks `{ mask: class }`, at a `point` or over a `region`; of a detector `{ box: n }`. A list of lists gives each image its own.",
    "score": "The score that is explained of the class: its `logit` (default), its `probability`, or any value per image computed from what the model gives: `({ output }) => symbolic.sum(symbolic.select(output, 'classes', 3), ['height', 'width'])`.",
    "output": "Of a model that returns several, the output that is explained: a dict's key or a place, such as `1`. Its classes are numbered, since a card's labels are those of the usual one. Default: that of `Model.load`.",
    "size": "`image` (default): maps of the model's input size, upsampled bilinearly. `grid`: as the method computes them.",
    "raw": "Leaves the map's own values; by default each map is brought to [0, 1].",
    "top": "How many of the best classes `predictions` lists: 1 to 1,000,000, all where the model has fewer. Default 5.",
    "memory": "Bytes that one chunk of a sampling method may take: 1 or more. Default 1 GiB.",
    "maxPixels": "Most pixels of an image: 1 or more. Larger images are refused before they are decoded. Default: that of `Model.load`.",
    "client": "Whose request it is, such as a user's name: at most 256 characters. Requests of different clients take turns, so that many of one do not hold up another's. Default: one client for all that name none.",
    "signal": "Aborting rejects with ABORTED at once. Default: none."
  },
  "layer": {
    "layer": "A layer, or several: their maps are upsampled to the input size whatever `size` says, brought to [0, 1] and fused. Default: `inspect().targetLayer`.",
    "fusion": "How several layers' maps are fused. Default `mean`.",
    "augmentationSmoothing": "Averages the maps of the image and its mirror image, each times 0.9, 1 and 1.1, mirrored back: six runs. Maps are of the input size whatever `size` says. Default false."
  }
} as const;
