"""How well anomalies are found: the same figures for the network and for two simple baselines."""

import numpy as np


def auroc(scores, is_anomaly):
    """The chance that an anomaly scores above a normal window; a tie counts half."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ordered = scores[order]
    _, first, count = np.unique(ordered, return_index=True, return_counts=True)
    ranks[order] = np.repeat(first + (count + 1) / 2, count)
    anomalies = is_anomaly.sum()
    return float((ranks[is_anomaly].sum() - anomalies * (anomalies + 1) / 2) / (anomalies * (~is_anomaly).sum()))


def threshold_at(scores_of_normal, false_alarms):
    """The score that the share `false_alarms` of normal windows lies above."""
    return float(np.quantile(scores_of_normal, 1 - false_alarms, method="higher"))


def z_score(values, mask):
    """Baseline: the largest distance from the mean, in standard deviations."""
    valid = mask > 0.5
    count = np.maximum(valid.sum(1, keepdims=True), 1)
    values = values.astype(np.float64)
    mean = np.where(valid, values, 0).sum(1, keepdims=True) / count
    away = np.where(valid, np.abs(values - mean), 0)
    deviation = np.sqrt((away**2).sum(1) / count[:, 0])
    return np.where(deviation > 0, away.max(1) / np.where(deviation > 0, deviation, 1), 0)


def rate_of_change(values, mask):
    """Baseline: the largest change between neighbours, as a multiple of the mean change."""
    valid = mask > 0.5
    both = valid[:, 1:] & valid[:, :-1]
    change = np.where(both, np.abs(np.diff(values.astype(np.float64), axis=1)), 0)
    mean = change.sum(1) / np.maximum(both.sum(1), 1)
    return np.where(mean > 0, change.max(1) / np.where(mean > 0, mean, 1), 0)
