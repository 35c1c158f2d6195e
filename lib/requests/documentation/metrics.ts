// Written by `npm run document` from the doc comments of methods, metrics and their options. Do not edit.
export default {
  "deletion": {
    "description": "Deletion: the area under the class's probability while the pixels that the map marks most are replaced first. In [0, 1], lower is better: a right map makes the probability fall at once.\n\nPetsiuk, Das & Saenko, RISE, BMVC 2018. The authors' steps, 224 for an image of 224 x 224, and their zeros after normalization. `torch-cam` takes 20 steps.",
    "options": {
      "steps": "Steps, of equally many pixels; the last may be smaller.",
      "baseline": "The values in the place of pixels that are not shown: as in `rise`, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "insertion": {
    "description": "Insertion: the area under the class's probability while the pixels that the map marks most are shown first, on a blurred image. In [0, 1], higher is better.\n\nPetsiuk, Das & Saenko, RISE, BMVC 2018; blurred by a Gaussian of 5 pixels. `torch-cam` takes 20 steps from zeros.",
    "options": {
      "steps": "Steps, of equally many pixels; the last may be smaller.",
      "baseline": "The values in the place of pixels that are not shown: as in `rise`, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "positive-perturbation": {
    "description": "Positive perturbation: the area under whether the class is still predicted, while 0 % to 90 % of the pixels are blacked out, the map's highest first. In [0, 1], lower is better. Its mean over images is the accuracy's area.\n\nChefer, Gur & Wolf, Transformer Interpretability Beyond Attention Visualization, CVPR 2021. The area is that of the trapezoidal rule with 0 % included, over the range's width of 0.9. The authors report it as 100 times the area, undivided.",
    "options": {
      "baseline": "The values in the place of replaced pixels: as in `rise`, after normalization.",
      "score": "The score of each run: `top1` (whether the class is still predicted), `probability` or `logit`."
    }
  },
  "negative-perturbation": {
    "description": "Negative perturbation: the same while the pixels that the map marks least are blacked out. In [0, 1], higher is better. Chefer et al., CVPR 2021.",
    "options": {
      "baseline": "The values in the place of replaced pixels: as in `rise`, after normalization.",
      "score": "The score of each run: `top1` (whether the class is still predicted), `probability` or `logit`."
    }
  },
  "pixel-flipping": {
    "description": "Pixel flipping: the area under the class's logit while the pixels that the map marks most are blacked out first. Lower is better; its unit is that of the score.\n\nBach et al., On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation, PLoS ONE 2015.",
    "options": {
      "steps": "Steps, of equally many pixels; the last may be smaller.",
      "baseline": "The values in the place of pixels that are not shown: as in `rise`, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`."
    }
  },
  "region-perturbation": {
    "description": "Region perturbation: how far the class's score falls, on average, while regions are replaced one after the other, from the highest mean of the map down (AOPC, \"area over the perturbation curve\"). Higher is better.\n\nSamek et al., Evaluating the Visualization of What a Deep Neural Network Has Learned, TNNLS 2017: regions of 9 x 9, which most inputs do not divide into, so here of 8 x 8; 100 steps.",
    "options": {
      "steps": "Regions that are replaced; all, where the image has fewer.",
      "region": "Pixels of a region, or [down, across]; the image must divide into such regions.",
      "baseline": "The values in the place of replaced regions: as in `rise`, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`."
    }
  },
  "selectivity": {
    "description": "Selectivity: the area under the class's score while all regions are replaced one after the other, from the highest mean of the map down. Lower is better.\n\nMontavon, Samek & Mueller, Methods for Interpreting and Understanding Deep Neural Networks, 2018.",
    "options": {
      "region": "Pixels of a region, or [down, across]; the image must divide into such regions.",
      "baseline": "The values in the place of replaced regions: as in `rise`, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`."
    }
  },
  "road": {
    "description": "ROAD, combined: half of what the mean probability is higher by with the map's lowest pixels removed than with its highest. In [-0.5, 0.5] for probabilities, higher is better. Its curve is that difference at each share.\n\nRong et al., ICML 2022, as pytorch-grad-cam combines them.",
    "options": {
      "shares": "Shares of the pixels that are removed, one run each: above 0, below 1.",
      "noise": "Standard deviation of the noise on filled-in pixels, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`.",
      "seed": "Of the noise: the same seed gives the same figure.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "road-morf": {
    "description": "ROAD, most relevant first: the mean of the class's probability with 10 % to 90 % of the pixels removed, the map's highest first, and filled in from their neighbors. Lower is better.\n\nRong, Leemann, Borisov, Kasneci & Kasneci, A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022.",
    "options": {
      "shares": "Shares of the pixels that are removed, one run each: above 0, below 1.",
      "noise": "Standard deviation of the noise on filled-in pixels, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`.",
      "seed": "Of the noise: the same seed gives the same figure.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "road-lerf": {
    "description": "ROAD, least relevant first: the same with the map's lowest pixels removed. Higher is better. Rong et al., ICML 2022.",
    "options": {
      "shares": "Shares of the pixels that are removed, one run each: above 0, below 1.",
      "noise": "Standard deviation of the noise on filled-in pixels, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`.",
      "seed": "Of the noise: the same seed gives the same figure.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "average-drop": {
    "description": "Average drop: by what share of itself the class's probability falls when the image is multiplied by the map. In [0, 1], lower is better; a rise counts as 0.\n\nChattopadhay et al., Grad-CAM++, WACV 2018, who give it in percent.",
    "options": {
      "baseline": "The values that the image fades to where the map is 0: as in `rise`, after normalization."
    }
  },
  "increase-in-confidence": {
    "description": "Increase in confidence: 1 where the class's probability rises when the image is multiplied by the map, else 0; its mean over images is the share that rises. Higher is better.\n\nChattopadhay et al., Grad-CAM++, WACV 2018, who give it in percent.",
    "options": {
      "baseline": "The values that the image fades to where the map is 0: as in `rise`, after normalization."
    }
  },
  "average-gain": {
    "description": "Average gain: by what share of the probability still to be gained, 1 - p, the class's probability p rises when the image is multiplied by the map. In [0, 1], higher is better; a fall counts as 0, and so does p = 1.\n\nZhang, Torres, Sicre, Avrithis & Ayache, Opti-CAM, CVIU 2024.",
    "options": {
      "baseline": "The values that the image fades to where the map is 0: as in `rise`, after normalization."
    }
  },
  "faithfulness-correlation": {
    "description": "Faithfulness correlation: over random sets of pixels, Pearson's correlation of the map's sum with the fall of the class's score when the set is replaced. In [-1, 1], higher is better.\n\nBhatt, Weller & Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.",
    "options": {
      "samples": "Random sets, and runs of the model.",
      "pixels": "Pixels in a set; all, where the image has fewer.",
      "baseline": "The values in the place of replaced pixels: as in `rise`, after normalization.",
      "score": "The score of each run: `logit` of the class, `probability`, or `top1`.",
      "seed": "Of the sets: the same seed gives the same figure."
    }
  },
  "faithfulness-estimate": {
    "description": "Faithfulness estimate: the pixels, from the map's highest down, in equal groups; Pearson's correlation of each group's sum with how far the class's score falls when just that group is replaced. In [-1, 1], higher is better.\n\nAlvarez-Melis & Jaakkola, Towards Robust Interpretability with Self-Explaining Neural Networks, NeurIPS 2018.",
    "options": {
      "groups": "Groups, and runs of the model.",
      "baseline": "The values in the place of replaced pixels: as in `rise`, after normalization.",
      "score": "The score of each run: `logit` of the class, `probability`, or `top1`."
    }
  },
  "monotonicity": {
    "description": "Monotonicity: the share of steps at which the class's score does not fall while pixels are shown on the baseline, from the map's lowest up. In [0, 1], higher is better; the paper asks whether it is 1.\n\nArya et al., One Explanation Does Not Fit All, 2019.",
    "options": {
      "steps": "Steps, of equally many pixels; the last may be smaller.",
      "baseline": "The values in the place of pixels that are not shown: as in `rise`, after normalization.",
      "score": "The score of each run: `probability` of the class, `logit`, or `top1`."
    }
  },
  "infidelity": {
    "description": "Infidelity: the mean square of what the map says that noise takes from the class's score, less what it takes. At least 0, lower is better.\n\nYeh, Hsieh, Suggala, Inouye & Ravikumar, On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019. A map has one number for all channels of a pixel. By default it is first scaled to fit best, as the paper's formula (6) allows: else maps are compared by their unit.",
    "options": {
      "samples": "Perturbed images, and runs of the model.",
      "noise": "Standard deviation of the noise, after normalization.",
      "scale": "`fitted`: the map is scaled to fit best; `own`: it is taken in its own unit.",
      "score": "The score of each run: `logit` of the class, `probability`, or `top1`.",
      "seed": "Of the noise: the same seed gives the same figure."
    }
  },
  "pointing-game": {
    "description": "Pointing game: 1 where the map's highest pixel lies on the object, else 0; its mean over images is the accuracy. Of equal pixels the first, row by row, counts.\n\nZhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016, without their tolerance of 15 pixels.",
    "options": {}
  },
  "mass-accuracy": {
    "description": "Mass accuracy: the share of the map's positive values that lies on the object. In [0, 1], higher is better; NaN where nothing is positive. Also called energy-based pointing game.\n\nArras, Osman & Samek, CLEVR-XAI, Information Fusion 2022.",
    "options": {}
  },
  "rank-accuracy": {
    "description": "Rank accuracy: of as many of the map's highest pixels as the object has, the share that lies on it. In [0, 1], higher is better.\n\nArras, Osman & Samek, CLEVR-XAI, Information Fusion 2022.",
    "options": {}
  },
  "top-k-intersection": {
    "description": "Top-k intersection: the share of the map's `pixels` highest pixels that lies on the object. In [0, 1], higher is better.\n\nTheiner, Mueller-Budack & Ewerth, Interpretable Semantic Photo Geolocation, WACV 2022.",
    "options": {
      "pixels": "How many of the highest pixels; all, where the image has fewer."
    }
  },
  "localization-auc": {
    "description": "Localization AUC: how likely a pixel of the object has a higher value than one beside it, equal ones counting half: the area under the ROC curve. In [0, 1], 0.5 by chance, higher is better; NaN where the object is nothing or all.\n\nFawcett, An Introduction to ROC Analysis, 2006.",
    "options": {}
  },
  "average-precision": {
    "description": "Average precision of the pixels ranked by the map, those of the object being the right ones: the mean over the object's pixels of the object's share of all pixels that are at least as high. Its mean over images is mAP. In [0, 1], by chance the object's share of the image, higher is better; NaN where there is no object.\n\nEveringham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, without its interpolation.",
    "options": {}
  },
  "iou": {
    "description": "Intersection over union of the object and the pixels whose value, with the map brought to [0, 1], is at least `threshold`; its mean over images is mIoU. In [0, 1], higher is better.",
    "options": {
      "threshold": "The least value of a pixel that counts as marked, of the map in [0, 1]."
    }
  },
  "pixel-accuracy": {
    "description": "Pixel accuracy: the share of the image's pixels that are marked on the object, or not marked beside it. The map is brought to [0, 1], and marked from `threshold` on. In [0, 1], higher is better.",
    "options": {
      "threshold": "The least value of a pixel that counts as marked, of the map in [0, 1]."
    }
  },
  "max-sensitivity": {
    "description": "Max-sensitivity: the most by which the map changes, as a share of its length, where each value of the image changes by at most `radius`. At least 0, lower is better. A map of zeros has none: NaN.\n\nYeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019.",
    "options": {
      "samples": "Perturbed images, and explanations of them.",
      "radius": "The most by which a value of the image changes, after normalization.",
      "seed": "Of the changes: the same seed gives the same figure."
    }
  },
  "average-sensitivity": {
    "description": "Average sensitivity: the same, as the mean over the perturbed images. Lower is better. Yeh et al., NeurIPS 2019.",
    "options": {
      "samples": "Perturbed images, and explanations of them.",
      "radius": "The most by which a value of the image changes, after normalization.",
      "seed": "Of the changes: the same seed gives the same figure."
    }
  },
  "local-lipschitz": {
    "description": "Local Lipschitz estimate: the most by which the map changes for each unit by which the image does. At least 0, lower is better; it depends on the map's unit.\n\nAlvarez-Melis & Jaakkola, On the Robustness of Interpretability Methods, 2018.",
    "options": {
      "samples": "Perturbed images, and explanations of them.",
      "radius": "The most by which a value of the image changes, after normalization.",
      "seed": "Of the changes: the same seed gives the same figure."
    }
  },
  "sparseness": {
    "description": "Sparseness: the Gini index of the map's absolute values. 0 where all are equal, towards 1 where one has all; higher is better.\n\nChalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML 2020.",
    "options": {}
  },
  "complexity": {
    "description": "Complexity: the entropy of the pixels' shares of the map's absolute values, in nats. 0 where one pixel has all, ln (pixels) where all are equal; lower is better.\n\nBhatt, Weller & Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020.",
    "options": {}
  },
  "effective-complexity": {
    "description": "Effective complexity: how many pixels have an absolute value above `threshold` of the map's largest. Lower is better.\n\nNguyen & Martinez, On Quantitative Aspects of Model Interpretability, 2020, whose threshold is of the map's own unit.",
    "options": {
      "threshold": "As a share of the map's largest absolute value: at least 0."
    }
  }
} as const;
