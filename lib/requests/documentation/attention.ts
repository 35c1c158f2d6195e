// Written by `npm run document` from the doc comments of methods, metrics and their options. Do not edit.
export default {
  "raw-attention": {
    "description": "Raw attention: what the class token attends to in one block, heads fused; where there is no class token, the mean of all patches. Not class-specific.\n\nNo paper defines it; the probabilities are those of Vaswani et al., Attention Is All You Need, NeurIPS 2017.",
    "options": {
      "headFusion": "How heads become one map: mean, max, min, or one head's number.",
      "block": "The block, from 0; default the last.",
      "row": "Whose attention: the token that is classified (or the mean of the patches), or another one."
    }
  },
  "attention-rollout": {
    "description": "Attention rollout: the product over blocks of head-fused attention with its residual, read off at the class token. Not class-specific.\n\nAbnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020. Fusing heads by `max` or `min` and discarding weak attention are additions of the vit-explain project; the entry [class token, class token] is never discarded.",
    "options": {
      "row": "Whose row is the map: the token that is classified (or the mean of the patches), or another one.",
      "residualWeight": "The weight w of the identity in (1 - w) A + w I; in [0, 1).",
      "rowNormalization": "Whether rows are divided by their sums.",
      "combine": "Product of the blocks' matrices (rollout), or their sum.",
      "startBlock": "The first block, from 0; negative numbers count from the end.",
      "endBlock": "The last block, included; default -1, the model's last.",
      "discardRatio": "Share of each block's entries, the smallest, that is set to 0; in [0, 1).",
      "headFusion": "How heads become one map: mean, max, min, or one head's number.",
      "preset": "A published choice of the other options. An option that is given by name wins over it. Default: none.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "gradient-rollout": {
    "description": "Gradient attention rollout: rollout of attention weighted by the class score's gradient, positive parts only, which makes it class-specific.\n\nGildenblat, Exploring Explainability for Vision Transformers, 2020, with its pairing of blocks and gradients corrected; positive parts are taken before heads are fused, as in Chefer et al. 2021.",
    "options": {
      "row": "Whose row is the map: the token that is classified (or the mean of the patches), another, or all `tokens`.",
      "residualWeight": "The weight w of the identity in (1 - w) A + w I; in [0, 1).",
      "rowNormalization": "Whether rows are divided by their sums.",
      "combine": "Product of the blocks' matrices (rollout), or their sum.",
      "startBlock": "The first block, from 0; negative numbers count from the end.",
      "endBlock": "The last block, included; default -1, the model's last.",
      "discardRatio": "Share of each block's entries, the smallest, that is set to 0; in [0, 1).",
      "headFusion": "How heads of attention times gradient become one map: positive-part, gradient-weighted, grad-cam, max, min, gradient-l1, gradient-l2, or one head's number.",
      "preset": "A published choice of the other options. An option that is given by name wins over it. Default: none.",
      "compat": "The package whose numbers the map reproduces. Default: none, the definition of the paper."
    }
  },
  "gae": {
    "description": "Generic attention explainability: relevance R, the identity at first, grows in every block by the positive part of attention times gradient, R = R + mean over heads of (A * dy/dA)+ R; read off at the class token.\n\nChefer, Gur & Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers, ICCV 2021.",
    "options": {
      "row": "Whose row is the map: the token that is classified (or the mean of the patches), or another one.",
      "startBlock": "The first block, from 0; negative numbers count from the end.",
      "endBlock": "The last block, included; default -1, the model's last.",
      "headFusion": "How heads of attention times gradient become one map: positive-part, gradient-weighted, grad-cam, max, min, gradient-l1, gradient-l2, or one head's number.",
      "preset": "A published choice of the other options. An option that is given by name wins over it. Default: none."
    }
  },
  "beyond-intuition": {
    "description": "Beyond Intuition: what the tokens handed to one another, times what the class made of it. Attention of each block, scaled token by token or head by head, is multiplied through the blocks with its residual; the result is weighted by the positive part of the score's gradient of the last attention, averaged on the way from nothing to the image.\n\nChen, Li, Yu, Dou & Xiong, Beyond Intuition: Rethinking Token Attributions inside Transformers, TMLR 2023.",
    "options": {
      "startBlock": "The first block, from 0; negative numbers count from the end.",
      "endBlock": "The last block, included; default -1, the model's last.",
      "scaling": "How attention is scaled: by the length that each `token` gains, or by the gradient of each `head`.",
      "steps": "Steps of the integrated gradient, at the fractions 0 to 1 of the image, both included.",
      "preset": "A published choice of the other options. An option that is given by name wins over it. Default: none."
    }
  },
  "attention-flow": {
    "description": "Attention flow: blocks as layers of a network of pipes, attention with its residual as capacities. The map is how much can flow from the class token on top to each patch at the bottom, each target by itself. It is divided by the sum over all targets. Exact. Not class-specific.\n\nAbnar & Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.",
    "options": {
      "residualWeight": "The weight w of the identity in (1 - w) A + w I; in [0, 1).",
      "row": "Where the flow starts: the token that is classified (or the mean of the patches), or another one.",
      "startBlock": "The first block, from 0; negative numbers count from the end.",
      "endBlock": "The last block, included; default -1, the model's last.",
      "headFusion": "How heads become one map: mean, max, min, or one head's number."
    }
  },
  "attention-norms": {
    "description": "Norm-based attention: how long the vectors are that each token adds to the class token's output in a block, rather than how large its attention weights are. `2020` as they are; `residual` with the token itself added by the residual connection; `residual-norm` after the layer norm that follows. Not class-specific.\n\nFigures: `mixingRatio`, the share of other tokens in a token's output, mean over tokens (and blocks); `rowMixingRatio`, that of the token whose row is the map.\n\nKobayashi, Kuribayashi, Yokoi & Inui, Attention is Not Only a Weight, EMNLP 2020, and Incorporating Residual and Normalization Layers into Analysis of Masked Language Models, EMNLP 2021.",
    "options": {
      "variant": "The vectors that are measured: attention's own, those with the residual, or those after the layer norm.",
      "block": "The block, from 0; default the last.",
      "rollout": "Whether the blocks' matrices are multiplied, from `startBlock` to `endBlock`, rows brought to a sum of 1.",
      "startBlock": "With `rollout`: the first block, from 0; default 0.",
      "endBlock": "With `rollout`: the last block, included; default the last.",
      "row": "Whose row is the map: the token that is classified (or the mean of the patches), or another one."
    }
  },
  "value-zeroing": {
    "description": "Value Zeroing: how much a token's output in a block turns (cosine distance) when another token's value vector is zeroed in all heads. One block's class row, or rolled out over blocks without a residual: the block's output holds it already. Not class-specific.\n\nMohebbi, Zuidema, Chrupała & Alishahi, Quantifying Context Mixing in Transformers, EACL 2023.",
    "options": {
      "block": "The block, from 0; default the last.",
      "rollout": "Whether the blocks' scores are multiplied, from `startBlock` to `endBlock`.",
      "startBlock": "With `rollout`: the first block, from 0; default 0.",
      "endBlock": "With `rollout`: the last block, included; default the last.",
      "row": "Whose row is the map: the token that is classified (or the mean of the patches), or another one."
    }
  },
  "vit-cx": {
    "description": "ViT-CX: which parts of the image cause the prediction. The channels of an attention block's input, seen as masks, are merged where they look alike; each mask counts by what is left of the class's probability when only the masked part stays, with noise in the place of the rest.\n\nXie, Li, Cao and Zhang, ViT-CX: Causal Explanation of Vision Transformers, IJCAI 2023.",
    "options": {
      "distanceThreshold": "Masks are merged while their cosine distance stays below it; in (0, 1].",
      "noise": "Standard deviation of the noise where the mask is 0, of pixels as the model gets them.",
      "seed": "Of the noise: the same seed gives the same map."
    }
  },
  "le-grad": {
    "description": "LeGrad: each block's output is classified by the model's own head. The score's gradient with respect to that block's attention, positive part, is averaged over heads, queries and blocks. Attention itself is not multiplied in.\n\nBousselham, Boggust, Chaybouti, Strobelt & Kuehne, LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity, ICCV 2025.",
    "options": {
      "startBlock": "The first block, from 0; negative numbers count from the end.",
      "endBlock": "The last block, included; default -1, the model's last.",
      "pooling": "The tokens of a block's output that the head reads: the mean of all tokens, or the tokens as they are (the class token, in most models)."
    }
  },
  "transformer-attribution": {
    "description": "Transformer attribution: in every block, the relevance of attention by layer-wise relevance propagation times its gradient, positive parts, mean over heads, plus the identity; all blocks multiplied, without dividing rows by their sums; read off at the class token.\n\nChefer, Gur & Wolf, Transformer Interpretability Beyond Attention Visualization, CVPR 2021.",
    "options": {
      "row": "Whose row is the map: the token that is classified (or the mean of the patches), or another one.",
      "startBlock": "The first block, from 0; negative numbers count from the end.",
      "endBlock": "The last block, included; default -1, the model's last.",
      "preset": "A published choice of the other options. An option that is given by name wins over it. Default: none."
    }
  },
  "attn-lrp": {
    "description": "AttnLRP: each pixel's share in the score, by layer-wise relevance propagation through attention's softmax and products, layer norms and activations. Signed; positive pixels speak for the class.\n\nAchtibat et al., AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers, ICML 2024; its authors state that the technique is patented outside research.",
    "options": {
      "linearGamma": "Gamma of the linear layers outside attention; 0 takes their plain rule.",
      "convGamma": "Gamma of convolutions, such as the one that makes patches; 0 takes their plain rule."
    }
  },
  "cp-lrp": {
    "description": "CP-LRP: each pixel's share in the score, by layer-wise relevance propagation. Attention's probabilities are taken as constants, so that relevance flows through the values alone. Signed; positive pixels speak for the class.\n\nAli et al., XAI for Transformers: Better Explanations through Conservative Propagation, ICML 2022; gamma rule as in Achtibat et al. 2024.",
    "options": {
      "linearGamma": "Gamma of the linear layers outside attention; 0 takes their plain rule.",
      "convGamma": "Gamma of convolutions, such as the one that makes patches; 0 takes their plain rule."
    }
  }
} as const;
