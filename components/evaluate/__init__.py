"""Scores of predicted tracks: mAP, HOTA and FSLA in two protocols, with the report that explains them."""
