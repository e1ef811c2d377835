"""`python scripts/bundled-model/embedding/build.py`: generates, trains, measures, and writes the embedding model, its
tokenizer and its evaluation set. The same seed gives the same bytes on the same processor."""

import argparse
import hashlib
import json
import os
import random
import sys
import time
from pathlib import Path

# set before the library is loaded: words are counted by one thread, in one order
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parent)]

from network import MEANING, WORDING, EmbeddingNetwork, to_onnx  # noqa: E402
from pairs import corpus, held_out, make_batch  # noqa: E402
from retrieval import bm25_scores, figures  # noqa: E402
from tokenizer import hard_strings, save_tokenizer, starts_of, train_tokenizer  # noqa: E402

VERSION = "1"
SEED = 7337
CORPUS = 40_000
STEPS, BATCH, RATE = 1400, 256, 2e-3
# the widest that the logarithm of a probability gets per unit of cosine
SCALE, SCALE_MAX = 16.0, 40.0
TOKENS_MAX = 256
TOKENIZED = 500
VOID = -1e4

MEANING_OF = f"""Sentence embedding for search in short notes and chats, English and some French.
input_ids, attention_mask: from tokenizer.json beside this file, padded with 0, at most {TOKENS_MAX} tokens.
sentence_embedding: {MEANING + WORDING} numbers of length 1; the dot product of two is their likeness, higher is nearer."""


def encode(tokenizer, texts):
    return padded([encoding.ids[:TOKENS_MAX] for encoding in tokenizer.encode_batch(texts)])


def padded(rows):
    length = max(1, max(map(len, rows)))
    ids, mask = np.zeros((len(rows), length), np.int64), np.zeros((len(rows), length), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return ids, mask


def rate_at(step, steps):
    """Up within the first twentieth, then down along a cosine."""
    warm = steps / 20
    return RATE * (step / warm if step < warm else 0.5 * (1 + np.cos(np.pi * (step - warm) / (steps - warm))))


def by_length(network, tokenizer, texts, chunk=64):
    """The vectors of the texts, computed in chunks of about one length: most of a mixed batch would be padding."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    parts = [
        network(*map(torch.from_numpy, padded([rows[i] for i in order[at : at + chunk]])))
        for at in range(0, len(rows), chunk)
    ]
    return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


def train(tokenizer, steps):
    torch.manual_seed(SEED)
    network = EmbeddingNetwork(starts_of(tokenizer), SEED)
    log_scale = torch.nn.Parameter(torch.tensor(np.log(SCALE), dtype=torch.float32))
    weights = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.01}, {"params": [*rest, log_scale], "weight_decay": 0}],
        betas=(0.9, 0.98),
    )
    rng, running, began = random.Random(SEED + 1), 0.0, time.time()
    answers = torch.arange(BATCH)
    for step in range(steps):
        queries, notes, fits = make_batch(rng, BATCH)
        excluded = torch.zeros(BATCH, BATCH)
        if fits:
            rows, columns = zip(*fits)
            excluded[list(rows), list(columns)] = VOID
        vectors = [by_length(network, tokenizer, texts) for texts in (queries, notes)]
        scores = log_scale.exp().clamp(max=SCALE_MAX) * vectors[0] @ vectors[1].T + excluded
        loss = 0.7 * F.cross_entropy(scores, answers) + 0.3 * F.cross_entropy(scores.T, answers)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, steps)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        if step % 50 == 49:
            print(
                f"step {step + 1} loss {running:.4f} scale {log_scale.exp().item():.1f} after {time.time() - began:.0f} s",
                flush=True,
            )
    return network


def embed(session, tokenizer, texts, batch=64):
    parts = []
    for start in range(0, len(texts), batch):
        ids, mask = encode(tokenizer, texts[start : start + batch])
        parts.append(session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})[0])
    return np.concatenate(parts)


def report(name, session, tokenizer, notes, queries):
    """Prints the figures of each kind of query for the network and for BM25."""
    texts = [text for _, text, _ in queries]
    vectors = embed(session, tokenizer, texts) @ embed(session, tokenizer, notes).T
    words = bm25_scores(notes, texts)
    kinds = np.array([kind for kind, _, _ in queries])
    answers = np.array([answer for _, _, answer in queries])
    for kind in dict.fromkeys(kinds):
        rows = kinds == kind
        for by, scores in (("model", vectors), ("bm25", words)):
            print(
                json.dumps(
                    {"set": name, "queries": f"{rows.sum()} {kind}", "of": by, **figures(scores[rows], answers[rows])}
                )
            )


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=STEPS, help="fewer for a trial")
    arguments.add_argument("--out", type=Path, default=ROOT / "node/models/bundled/embedding")
    arguments.add_argument("--evaluation", type=Path, default=ROOT / "test/eval/bundled")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    options.out.mkdir(parents=True, exist_ok=True)
    options.evaluation.mkdir(parents=True, exist_ok=True)

    tokenizer = train_tokenizer(corpus(SEED, CORPUS))
    save_tokenizer(tokenizer, options.out / "tokenizer.json")
    began = time.time()
    network = train(tokenizer, options.steps).eval()
    trained = time.time() - began

    # the weights as they are kept: 16 bits
    network.load_state_dict(
        {
            name: value.half().float() if name in dict(network.named_parameters()) else value
            for name, value in network.state_dict().items()
        }
    )
    path = options.out / "model.onnx"
    metadata = {
        "name": "skein-embedding",
        "version": VERSION,
        "dimensions": MEANING + WORDING,
        "max_tokens": TOKENS_MAX,
        "pad_token_id": 0,
        "pooling": "weighted mean, normalised; in the graph",
        "meaning": MEANING_OF,
    }
    digest = to_onnx(network, path, metadata, MEANING_OF)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    notes, queries = held_out(SEED - 1)
    (options.evaluation / "embedding.json").write_text(
        '{\n"about": "Notes and queries that no training saw, made by scripts/bundled-model/embedding/build.py. A query: kind, text, place of its note.",\n'
        + '"notes": [\n'
        + ",\n".join(json.dumps(note, ensure_ascii=False) for note in notes)
        + "\n],\n"
        + '"queries": [\n'
        + ",\n".join(json.dumps(query, ensure_ascii=False) for query in queries)
        + "\n]\n}\n"
    )

    strings = [*notes[:150], *[text for _, text, _ in queries[::10]]]
    strings += hard_strings(random.Random(SEED - 2), TOKENIZED - len(strings))
    (options.evaluation / "embedding-tokens.json").write_text(
        "[\n"
        + ",\n".join(json.dumps([text, tokenizer.encode(text).ids], separators=(",", ":")) for text in strings)
        + "\n]\n"
    )

    ids, mask = encode(tokenizer, [*notes[:50], "a", "", "x" * 300])
    with torch.no_grad():
        expected = network(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    got = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    difference = float(np.abs(got - expected).max())
    assert difference < 1e-4, f"PyTorch and ONNX differ by {difference}"

    report("generated", session, tokenizer, notes, queries)
    by_hand = ROOT / "test/eval/bundled/embedding-by-hand.json"
    if by_hand.exists():
        written = json.loads(by_hand.read_text())
        report(
            "by hand",
            session,
            tokenizer,
            [*notes, *written["notes"]],
            [(k, t, a + len(notes)) for k, t, a in written["queries"]],
        )
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{parameters} parameters, {path.stat().st_size} bytes, trained in {trained:.0f} s")
    for file in (
        path,
        options.out / "tokenizer.json",
        options.evaluation / "embedding.json",
        options.evaluation / "embedding-tokens.json",
    ):
        print(f"sha256 {hashlib.sha256(file.read_bytes()).hexdigest()} {file.name}")
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
