"""Search among notes: the measures, and the baseline that the network is compared with."""

import math
from collections import Counter

import numpy as np

from notes import words_of

K1, B = 1.2, 0.75


def bm25_scores(notes, queries):
    """Okapi BM25 over folded words: [queries, notes]."""
    bags = [Counter(words_of(note)) for note in notes]
    lengths = np.array([sum(bag.values()) for bag in bags])
    places = {}
    for i, bag in enumerate(bags):
        for word, count in bag.items():
            places.setdefault(word, []).append((i, count))
    scores = np.zeros((len(queries), len(notes)))
    for row, query in enumerate(queries):
        for word in words_of(query):
            found = places.get(word, [])
            idf = math.log(1 + (len(notes) - len(found) + 0.5) / (len(found) + 0.5))
            for i, count in found:
                scores[row, i] += idf * count * (K1 + 1) / (count + K1 * (1 - B + B * lengths[i] / lengths.mean()))
    return scores


def figures(scores, answers):
    """recall@1, recall@5 and mean reciprocal rank; of notes with one score the earlier one is found first."""
    right = scores[np.arange(len(answers)), answers][:, None]
    earlier = np.arange(scores.shape[1]) < answers[:, None]
    rank = 1 + ((scores > right) | ((scores == right) & earlier)).sum(1)
    return {
        "recall_at_1": round(float((rank <= 1).mean()), 4),
        "recall_at_5": round(float((rank <= 5).mean()), 4),
        "mrr": round(float((1 / rank).mean()), 4),
    }
