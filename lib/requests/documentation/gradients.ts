// Written by `npm run document` from the doc comments of methods, metrics and their options. Do not edit.
export default {
  "gradient": {
    "description": "Saliency: the class score's gradient with respect to each pixel, the largest magnitude of its color channels.\n\nSimonyan, Vedaldi & Zisserman, Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps, ICLR workshop 2014.",
    "options": {
      "channels": "How the color channels become one number."
    }
  },
  "input-x-gradient": {
    "description": "Input times gradient: each pixel's first-order share of the score, with its sign. In a model without biases the shares sum to the score.\n\nShrikumar et al., Not Just a Black Box: Learning Important Features Through Propagating Activation Differences, 2016.",
    "options": {
      "channels": "How the color channels become one number. The sum keeps the shares' total."
    }
  },
  "smooth-grad": {
    "description": "SmoothGrad: the mean gradient over noisy copies of the image. With `average: 'square'` SmoothGrad squared, the mean of the squares.\n\nSmilkov et al., SmoothGrad: removing noise by adding noise, 2017. Squares: Hooker et al., A Benchmark for Interpretability Methods in Deep Neural Networks, NeurIPS 2019.",
    "options": {
      "samples": "Noisy copies of each image.",
      "noise": "Standard deviation of the Gaussian noise, in `noiseUnit`.",
      "noiseUnit": "`range`: a share of the difference between the image's largest and smallest value; `absolute`: the model's input units.",
      "seed": "Of the noise: the same seed gives the same map.",
      "average": "The quantity that is averaged: the gradient with its sign, its magnitude, or its square.",
      "channels": "How the color channels become one number.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "var-grad": {
    "description": "VarGrad: the variance of the gradient over noisy copies of the image.\n\nAdebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values, ICLR workshop 2018.",
    "options": {
      "samples": "Noisy copies of each image.",
      "noise": "Standard deviation of the Gaussian noise, in `noiseUnit`.",
      "noiseUnit": "`range`: a share of the difference between the image's largest and smallest value; `absolute`: the model's input units.",
      "seed": "Of the noise: the same seed gives the same map.",
      "of": "Whose variance: the gradient's with its sign, or its magnitude's.",
      "unbiased": "Divides by samples - 1 rather than by samples: a factor that only raw maps show.",
      "channels": "How the color channels become one number.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "integrated-gradients": {
    "description": "Integrated gradients: the gradient averaged along the straight line from a baseline to the image, times the difference of both. The attributions sum to what the score gains from baseline to image (completeness); by how much they miss it is shown by the figures `completenessError` and `relativeCompletenessError`.\n\nSundararajan, Taly & Yan, Axiomatic Attribution for Deep Networks, ICML 2017.",
    "options": {
      "steps": "Points on the line at which the gradient is taken.",
      "quadrature": "How the points lie and are weighted. `idgi` (Yang, Wang & Bilgic, CVPR 2023): equal steps, and what the score gains in each is shared out by the squared gradient at its beginning.",
      "baseline": "Where the line begins: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization.",
      "multiplyByInputs": "False leaves out the difference: where along the line the model is sensitive, without completeness.",
      "channels": "How the color channels become one number. The sum keeps the attributions' total.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "expected-gradients": {
    "description": "Expected gradients (GradientSHAP): integrated gradients averaged over baselines, by samples. Each draws a baseline and one point of the line from there to the image, and takes the gradient there times the difference of both. The points are spread: sample i of n draws its own from the i-th of n equal parts of the line. The attributions sum, on average, to what the score gains over its mean on the baselines. By how much they miss it for the baselines that were drawn is shown by the figures `completenessError` and `relativeCompletenessError`.\n\nErion et al., Improving performance of deep learning models with axiomatic attribution priors and expected gradients, Nature Machine Intelligence 2021.",
    "options": {
      "samples": "Baselines and points that are drawn.",
      "baselines": "The images that lines begin at, one drawn for each sample: `{ noise: 1 }` (Gaussian, around the model's mean color), `zero`, `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization; a list of these; or preprocessed images: `{ data: Float32Array, shape: [images, channels, height, width] }`.",
      "noise": "Standard deviation of Gaussian noise on the image of each sample, after normalization.",
      "seed": "Of all draws: the same seed gives the same map.",
      "multiplyByInputs": "False leaves out the difference: where on the way the model is sensitive, without completeness.",
      "channels": "How the color channels become one number. The sum keeps the attributions' total."
    }
  },
  "blur-ig": {
    "description": "Blur integrated gradients: the gradient integrated along the path on which the blurred image becomes sharp, times what each pixel changes on the way. No color stands for \"nothing to see\". The attributions sum to what the score gains from the blurred image to the image; by how much they miss it is shown by the figures `completenessError` and `relativeCompletenessError`.\n\nXu, Venugopalan & Sundararajan, Attribution in Scale and Space, CVPR 2020.",
    "options": {
      "steps": "Steps of the path, at each of which the gradient is taken.",
      "maxSigma": "Standard deviation of the Gaussian at the path's beginning, in pixels.",
      "quadrature": "How a step's attributions are found: `middle`, by the gradient in its middle; `idgi`, by sharing out what the score gains in it by the squared gradient at its beginning.",
      "channels": "How the color channels become one number. The sum keeps the attributions' total.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "deeplift": {
    "description": "DeepLIFT: what the score gains over that of a baseline, shared out backwards by the rescale rule. Each operator that is not linear lets back the ratio of what its output and its input gain, in place of its derivative. The attributions sum to the gain (completeness), but for rounding; by how much they miss it is shown by the figures `completenessError` and `relativeCompletenessError`.\n\nShrikumar, Greenside & Kundaje, Learning Important Features Through Propagating Activation Differences, ICML 2017; products of two values by the means of both orders, as in Lundberg & Lee 2017.",
    "options": {
      "baseline": "The image to compare with: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization.",
      "channels": "How the color channels become one number. The sum keeps the attributions' total."
    }
  },
  "deeplift-shap": {
    "description": "DeepLIFT-SHAP: the mean of DeepLIFT over baselines, which approximates Shapley values of the pixels. The attributions sum to what the score gains over its mean on the baselines; by how much rounding misses it is shown by the figures `completenessError` and `relativeCompletenessError`.\n\nLundberg & Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017.",
    "options": {
      "baselines": "The images that the image is compared with: `{ noise: 1 }` (Gaussian, around the model's mean color), `zero`, `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization; a list of these; or preprocessed images: `{ data: Float32Array, shape: [images, channels, height, width] }`.",
      "samples": "Baselines that are drawn from noise. Of a list, or of images, each is taken once.",
      "seed": "Of the noise: the same seed gives the same map.",
      "channels": "How the color channels become one number. The sum keeps the attributions' total."
    }
  },
  "xrai": {
    "description": "XRAI: integrated gradients from a black and from a white image, summed up by regions. The image is cut into segments of one color at several scales; each is widened by a few pixels. Of all these regions the one that is attributed to most densely comes first, then always the one of which the rest is. The map is that density: of each region, where no earlier one lies. By how much the integrated gradients miss what the score gains is shown by the figures `completenessError` and `relativeCompletenessError`.\n\nKapishnikov et al., XRAI: Better Attributions Through Regions, ICCV 2019.",
    "options": {
      "steps": "Points on the line from each baseline at which the gradient is taken.",
      "baselines": "Where the lines begin, the attributions being averaged: a list of `black`, `white`, `zero` (the model's mean color), `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization; or `range`: each image's own lowest and highest value.",
      "scales": "Scales of the segmentation, by Felzenszwalb and Huttenlocher: the larger, the larger the segments.",
      "smallest": "Segments of fewer pixels are joined to a neighbor.",
      "dilation": "By how many pixels each segment is widened, so that it covers the edges of what it shows.",
      "leastAdded": "A region that adds fewer pixels to those before it is left out.",
      "areaThreshold": "The share of the image after which regions are no longer ranked; what is left gets its mean.",
      "algorithm": "`fast`: regions in the order of their own densities, wherever earlier ones lie.",
      "channels": "How the color channels' attributions become one number.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "guided-backprop": {
    "description": "Guided backpropagation: the gradient with respect to each pixel, where every ReLU lets back only positive gradients through, and those only where it let the activation through. Smooth activations (GELU, SiLU) are treated as ReLUs are: what their derivative lets back is cut to its positive part.\n\nSpringenberg et al., Striving for Simplicity: The All Convolutional Net, ICLR workshop 2015.",
    "options": {
      "channels": "How the color channels become one number."
    }
  },
  "guided-grad-cam": {
    "description": "Guided Grad-CAM: guided backpropagation times the layer's Grad-CAM, which is brought to the image's size.\n\nSelvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.",
    "options": {
      "interpolation": "How Grad-CAM is brought to the image's size.",
      "channels": "How the product's color channels become one number.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "deconvnet": {
    "description": "Deconvolutional network: the gradient with respect to each pixel, where every ReLU lets back the positive gradients, whatever its activation was. Smooth activations (GELU, SiLU) are treated as ReLUs are.\n\nZeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.",
    "options": {
      "channels": "How the color channels become one number."
    }
  },
  "occlusion": {
    "description": "Occlusion: how far the score falls when a window of the image is hidden, for windows all over the image; each pixel gets the mean of the windows that cover it. Needs no gradients.\n\nZeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014.",
    "options": {
      "window": "The window's size in pixels, or [height, width].",
      "stride": "Pixels from one window to the next, or [down, across].",
      "baseline": "The values in the window: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization.",
      "overlap": "The value of a pixel, from the windows that cover it.",
      "edge": "`clip`: the last windows are cut off at the image's edge; `inside`: only whole windows, so the last pixels may stay uncovered, at 0.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "rise": {
    "description": "RISE: the mean score of randomly masked images, at each pixel over the masks that show it, weighted by how much they do. Masks are coarse random grids, smoothly enlarged and cut at a random offset. Needs no gradients.\n\nPetsiuk, Das & Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018. The paper reads probabilities: `score: 'probability'`.",
    "options": {
      "masks": "Masks, and runs of the model, for each image.",
      "grid": "Cells of the coarse grid, or [down, across].",
      "probability": "How likely each cell shows the image; above 0, below 1.",
      "baseline": "The values where the image is masked: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization.",
      "denominator": "The divisor of the sum: `coverage`, how much each pixel was shown; `expected`, as in the paper: masks times probability.",
      "seed": "Of the masks: the same seed gives the same map.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "kernel-shap": {
    "description": "Kernel SHAP: the Shapley value of each segment of the image. That is what the score gains by showing it beside others, on average over all orders of showing them. It is estimated by least squares from images of which some segments are hidden. It is exact where all ways to hide them are tried, which happens where `samples` suffice. The segments' values sum to what the score gains from the baseline to the image. The figure `fit` is the share of the scores' variance that such a sum explains, `segments` the number of them. Needs no gradients.\n\nLundberg & Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017.",
    "options": {
      "samples": "Masked images, and runs of the model, for each image.",
      "segments": "Parts that are hidden or shown as a whole: `superpixels`, of one color each, or `patches`, the cells of a grid.",
      "grid": "Cells of the grid of patches, or [down, across].",
      "scale": "Scale of the superpixels by Felzenszwalb and Huttenlocher, without a unit: the larger, the larger they are.",
      "smallest": "Superpixels of fewer pixels are joined to a neighbor.",
      "baseline": "The values where the image is hidden: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization.",
      "seed": "Of the masks: the same seed gives the same map."
    }
  },
  "lime": {
    "description": "LIME: what each segment of the image brings, by a linear model of the score near the image. The model is fitted to images of which each segment is hidden by a coin; the fewer are hidden, the more a sample counts. The figure `fit` is the share of the scores' variance that the linear model explains, `segments` the number of segments. Needs no gradients.\n\nRibeiro, Singh & Guestrin, \"Why Should I Trust You?\": Explaining the Predictions of Any Classifier, KDD 2016.",
    "options": {
      "penalty": "By which the linear model's values are held down: `ridge`, their squares, or `lasso`, their sizes. A lasso leaves few segments. `{ ridge: 1 }` and `{ lasso: 0.01 }` say how strongly.",
      "distance": "How far a sample lies from the image: by the `segments` that it shows, or by the pixels of the `image`.",
      "kernelWidth": "The distance, 1 less a cosine, at which a sample counts e to the power of -1/2.",
      "samples": "Masked images, and runs of the model, for each image.",
      "segments": "Parts that are hidden or shown as a whole: `superpixels`, of one color each, or `patches`, the cells of a grid.",
      "grid": "Cells of the grid of patches, or [down, across].",
      "scale": "Scale of the superpixels by Felzenszwalb and Huttenlocher, without a unit: the larger, the larger they are.",
      "smallest": "Superpixels of fewer pixels are joined to a neighbor.",
      "baseline": "The values where the image is hidden: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization.",
      "seed": "Of the masks: the same seed gives the same map.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  }
} as const;
