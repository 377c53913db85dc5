"""Scores of predicted tracks: mAP, HOTA and FSLA in two protocols, their intervals and paired tests."""
