// Written by `npm run document` from the doc comments of methods, metrics and their options. Do not edit.
export default {
  "cam": {
    "description": "Class activation mapping: the feature before the average pooling, weighted by the class's row of the linear layer after it. Signed: what speaks against the class is negative.\n\nZhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.",
    "options": {
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "grad-cam": {
    "description": "Grad-CAM: a layer's channels, each weighted by the mean over space of the class score's gradient, summed, negative parts cut off. In a ViT, space is the patches; prefix tokens are left out of the mean and of the map.\n\nSelvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, ICCV 2017.",
    "options": {
      "compat": "`captum`: negative parts are kept, as LayerGradCam does by default.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "grad-cam++": {
    "description": "Grad-CAM++: a channel's weight is the sum over space of its positive gradients, each times an alpha. Alpha evens out how many places a channel is active at. Closed form for a score that passes through an exponential.\n\nChattopadhay et al., Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks, WACV 2018, equations 10, 17 and 19.",
    "options": {
      "compat": "`pytorch-grad-cam`: 1e-6 in the denominator; `torch-cam`: alpha is g²; `xplique`: mean in place of sum of activations.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "hires-cam": {
    "description": "HiResCAM: activations times gradients, place by place, summed over channels, negative parts cut off. No gradient is averaged over space, so on a linear head the map adds up to the class score.\n\nDraelos & Carin, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks, 2020.",
    "options": {
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "elementwise-grad-cam": {
    "description": "Element-wise Grad-CAM: activations times gradients, place by place, negative parts cut off before the sum over channels, so that no channel cancels another.\n\nA variant of the pytorch-grad-cam project, without a paper.",
    "options": {
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "xgrad-cam": {
    "description": "XGrad-CAM: a channel's weight is the mean of its gradients, each place counting by its share of the channel's total activation. A channel whose activations sum to zero has no shares, and weight 0.\n\nFu et al., Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020.",
    "options": {
      "compat": "`pytorch-grad-cam` adds 1e-7 to the total activation, `torch-cam` 1e-8: it shows in all but dead channels.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "layer-cam": {
    "description": "LayerCAM: every place of every channel weighted by its own positive gradient, summed, negative parts cut off. Made for shallow layers too, whose finer maps are fused with the deep ones'.\n\nJiang et al., LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE TIP 2021.",
    "options": {
      "gamma": "Brings the map M to tanh(gamma M / max M), which the paper does with 2 to shallow layers before it fuses them; 0 leaves it.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "eigen-cam": {
    "description": "Eigen-CAM: the projection of a layer's channels on their first principal component, negative parts cut off. It tells where the layer's main pattern lies, whatever the class. The component's sign is arbitrary: here its largest magnitude is positive.\n\nMuhammad & Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020.",
    "options": {}
  },
  "eigen-grad-cam": {
    "description": "Eigen-Grad-CAM: the first principal component of activations times gradients, negative parts cut off. The gradients make it class-specific; the component's sign is set as in Eigen-CAM, by its largest magnitude.\n\nA variant of the pytorch-grad-cam project, after Muhammad & Yeasin 2020.",
    "options": {}
  },
  "kpca-cam": {
    "description": "KPCA-CAM: Eigen-CAM with a kernel. Places are compared by tanh(x y / channels + 1), x and y being their centered channels; the map is the first component of that matrix, negative parts cut off.\n\nKarmani et al., KPCA-CAM: Visual Explainability of Deep Computer Vision Models Using Kernel PCA, MMSP 2024.",
    "options": {}
  },
  "score-cam": {
    "description": "Score-CAM: a layer's channels, each weighted by the score that the model gives the image seen through that channel. Takes no gradients; one run of the model for each channel.\n\nWang et al., Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks, CVPR Workshops 2020.",
    "options": {
      "compat": "Masks as that package makes them: aligned at corners, or scaled before they are upsampled.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "ss-cam": {
    "description": "SS-CAM: Score-CAM with each channel's score averaged over noisy masks, or over noise on the masked image.\n\nWang, Naidu et al., SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization, arXiv:2006.14255, 2020.",
    "options": {
      "samples": "Noisy masks for each channel, and so runs of the model.",
      "noise": "Standard deviation of the noise: of masks in [0, 1], or of pixels as the model gets them.",
      "noiseOn": "The noise is added to this: the `mask`, or the `input`, that is, the image after masking.",
      "seed": "Of the noise: the same seed gives the same map.",
      "compat": "Masks as that package makes them: scaled before they are upsampled.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "is-cam": {
    "description": "IS-CAM: Score-CAM with each channel's score averaged along the way from no mask to the whole mask.\n\nNaidu et al., IS-CAM: Integrated Score-CAM for axiomatic-based explanations, arXiv:2010.03023, 2020.",
    "options": {
      "steps": "Steps along the way, and so runs of the model for each channel.",
      "compat": "Masks scaled before they are upsampled, and the running sum of the fractions, which goes far beyond 1, in place of each.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "smooth-grad-cam++": {
    "description": "Smooth Grad-CAM++: Grad-CAM++ with the moments of the gradient averaged over noisy images.\n\nOmeiza et al., Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep Convolutional Neural Network Models, arXiv:1908.01224, 2019, with Grad-CAM++'s numerator, the second derivative.",
    "options": {
      "samples": "Noisy images, and so runs of the model forwards and backwards.",
      "noise": "Standard deviation of the noise, of pixels as the model gets them.",
      "seed": "Of the noise: the same seed gives the same map.",
      "compat": "The last noisy image's gradient and activations where means, and those of the image itself, are meant.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "opti-cam": {
    "description": "Opti-CAM: a layer's channels, weighted so that the image seen through their map scores highest. The weights are a softmax, equal at first, whose logits Adam changes for each image and class. Negative activations count as zero.\n\nZhang, Torres, Sicre, Avrithis & Ayache, Opti-CAM: Optimizing saliency maps for interpretability, 2023.",
    "options": {
      "steps": "Steps of Adam; each runs the model forward and back.",
      "learningRate": "Adam's learning rate, above 0.",
      "baseline": "The values where the image is masked: `zero` (the model's mean color), `black`, `white`, `blur` or `{ blur: pixels }`, a number or one per color channel, after normalization."
    }
  },
  "poly-cam": {
    "description": "Poly-CAM: the map of a coarse layer, made finer by the maps of the layers before it, one for each grid that the network goes through. Each finer map is divided by its own local mean, so that it adds detail and no weight, and multiplied with the coarser one. Takes no gradients; a run of the model for each channel of each layer.\n\nEnglebert, Cornu & De Vleeschouwer, Poly-CAM: High resolution class activation map for convolutional neural networks, 2022.",
    "options": {
      "weights": "The weight of a channel: the probability that its mask keeps (`kept`), that hiding its places loses (`removed`), or their sum (`both`). PCAM+, PCAM- and PCAM± in the paper.",
      "stages": "How many layers are joined, from the layer backwards, 1 to 16; default all grids that there are."
    }
  },
  "ablation-cam": {
    "description": "Ablation-CAM: a layer's channels, each weighted by the share of the score that is lost where that channel is set to zero. Takes no gradients; for each channel, one run of the operators after the layer.\n\nDesai and Ramaswamy, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization, WACV 2020.",
    "options": {
      "compat": "Channels of layers with negative values set to about -1e7 in place of 0, and the sign of the score kept.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "recipro-cam": {
    "description": "Recipro-CAM: the class's score where only one place of a layer's feature is kept and the others are zero, for each place. Takes no gradients; for each place, one run of the operators after the layer, which all classes share.\n\nByun & Lee, Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks, 2022.",
    "options": {
      "kernel": "The places that are kept: a `single` one, or the 3 x 3 places around it by `gaussian` weights that sum to 1."
    }
  },
  "vit-recipro-cam": {
    "description": "ViT-Recipro-CAM: the class's score where only the patches around one place of a layer are kept, and the class token, for each place. The other tokens are zero. Takes no gradients; for each place, one run of the operators after the layer, which all classes share.\n\nByun & Lee, ViT-ReciproCAM: Gradient and Attention-Free Visual Explanations for Vision Transformer, 2023.",
    "options": {
      "kernel": "The patches that are kept: a `single` one, or the 3 x 3 around it by `gaussian` weights that sum to 1.",
      "classToken": "Whether the class token and other tokens that are no patches are kept."
    }
  },
  "full-grad": {
    "description": "FullGrad: what the input and every bias of the network contribute to the score. Input times gradient and, at each convolution and batch norm, bias times gradient, each brought to [0, 1] and laid over the image, summed. Nothing is left out: in a network of ReLUs these terms add up to the score.\n\nSrinivas & Fleuret, Full-Gradient Representation for Neural Network Visualization, NeurIPS 2019.",
    "options": {
      "compat": "`pytorch-grad-cam`: each channel of each term to [0, 1] by itself, half-pixel centers; otherwise as the authors' code."
    }
  },
  "shapley-cam": {
    "description": "Shapley-CAM: Grad-CAM whose weights are the places' Shapley values to second order: the mean over space of g - H A / 2. H is the Hessian of the utility with respect to the layer. Where the utility is linear in the layer, H is zero and the map is Grad-CAM's.\n\nCai, CAMs as Shapley Value-based Explainers, 2025 (arXiv 2501.06261).",
    "options": {
      "utility": "`rest` (the paper's): the score plus the class's log-probability; `score`: the score alone, the default where there are no classes.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "finer-cam": {
    "description": "Finer-CAM: a CAM of what sets the class apart from the classes most like it. Explained is the score less `strength` times the mean logit of the `references` classes whose logits are nearest.\n\nZhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation, CVPR 2025.",
    "options": {
      "base": "The CAM that explains the difference.",
      "references": "How many classes are compared with; as many as there are where the model has fewer.",
      "strength": "Factor by which they count; 0 is the base method. Default 0.6, with `compat: 'pytorch-grad-cam'` 1.",
      "compat": "`pytorch-grad-cam`: references weighted by their probabilities; that and `torch-cam` choose their own `grad-cam++` too.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "fem": {
    "description": "FEM, the Feature Explanation Method: places where a channel is unusually strong (at least mean + `sigmas` standard deviations over space) count by the channel's mean, summed over channels. Not class-specific.\n\nFuad et al., Features Understanding in 3D CNNs for Actions Recognition in Video, IPTA 2020.",
    "options": {
      "sigmas": "How many standard deviations above its mean a channel is unusually strong.",
      "compat": "`pytorch-grad-cam`: activations weighted by the share of strong places, negative parts cut off.",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "random-cam": {
    "description": "Random-CAM: channels weighted by random numbers between -1 and 1, negative parts cut off. The baseline that a CAM must beat; it knows neither the class nor the model after the layer. Every image of a batch gets the same weights.",
    "options": {
      "seed": "The weights are 2 torch.rand(channels) - 1 after manual_seed(seed * 1000003).",
      "eigenSmoothing": "Whether the first principal component of the weighted activations takes the place of their sum over channels."
    }
  },
  "deep-feature-factorization": {
    "description": "Deep feature factorization: a layer's activations as a sum of few non-negative concepts. Each has a map of where it is, and the class that the model gives to an image of nothing else. One map per concept, in place of one per target.\n\nCollins, Achanta and Süsstrunk, Deep Feature Factorization for Concept Discovery, ECCV 2018; the classes of concepts are pytorch-grad-cam's.",
    "options": {
      "components": "How many concepts. Default 5, or as many as the layer has places where those are fewer.",
      "compat": "Classes of concepts at the scale that the factorization happens to give, in place of each concept's peak."
    }
  }
} as const;
