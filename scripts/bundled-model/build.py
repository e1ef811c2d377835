"""Makes the bundled language model: `python build.py [--out DIR] [--work DIR] [--steps N] [--start FILE | --mean FILE…]`.

The same seed gives the same file, byte for byte, on the same kind of CPU with the same number of threads and the versions of
`requirements.txt`. A run that was stopped goes on where it was (`--work` keeps the checkpoint).
"""
from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

# threads that wait for each other by spinning are ten times slower than one where something else runs too; read when torch loads
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from tokenizers import Tokenizer

import start
from export import export
from heldout import write, write_story_words
from model import Shape
from text import VOCABULARY, Encoder, train_tokenizer
from train import Plan, Refinement, Training

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NAME = "skein-tiny"
TOKENIZER_DOCUMENTS = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "node/models/bundled/chat")
    parser.add_argument("--heldout", type=Path, default=ROOT / "test/eval/bundled/chat.jsonl")
    parser.add_argument("--work", type=Path, default=ROOT / "build/bundled-model")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--threads", type=int, default=2, help="part of what the result depends on")
    parser.add_argument("--draw", default="held", help="held-out cases to write: those of the repository, or by another word others of the same lists")
    parser.add_argument("--only-heldout", action="store_true", help="write the held-out cases, train nothing")
    parser.add_argument("--start", type=Path, help="a file made by this to go on from, in a further cycle of training")
    parser.add_argument("--mean", type=Path, nargs="+", help="files of cycles that followed each other, to be averaged; trains nothing")
    parser.add_argument("--peak", type=float, default=Refinement.peak, help="share of the full rates that a further cycle rises to")
    parser.add_argument("--stop-at", type=int, help="train up to this step, and export what there is")
    options = parser.parse_args()
    options.heldout.parent.mkdir(parents=True, exist_ok=True)
    print(f"{write(options.heldout, options.draw)} held-out cases: {options.heldout}", flush=True)
    write_story_words(options.heldout.with_name("story-words.json"))
    if options.only_heldout:
        return
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    shape = Shape(vocabulary=VOCABULARY)
    path = options.out / f"{NAME}.gguf"
    if options.mean:
        export(path, NAME, shape, *start.mean(options.mean))
        print(_told(path))
        return
    if options.start:
        weights, tokenizer = start.read(options.start)
        plan, name = Refinement(seed=options.seed, steps=options.steps or Refinement.steps, peak=options.peak), f"{NAME}-{options.seed}-further"
    else:
        weights, tokenizer = None, _tokenizer(options.work / f"tokenizer-{options.seed}.json", options.seed)
        plan, name = Plan(seed=options.seed, steps=options.steps or Plan.steps), f"{NAME}-{options.seed}"
    training = Training(plan, shape, Encoder(tokenizer), options.work / f"{name}.pt", options.work / f"{name}.jsonl", weights)
    print(f"{training.model.parameters_count:,} parameters, step {training.step} of {plan.steps}", flush=True)
    training.run(options.stop_at)
    export(path, NAME, shape, training.model.state_dict(), tokenizer)
    print(f"{_told(path)}, {training.seconds:.0f} s of training, {training.batches.document:,} documents")


def _told(path: Path) -> str:
    return f"{path}: {path.stat().st_size:,} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _tokenizer(path: Path, seed: int) -> Tokenizer:
    if path.exists():
        return Tokenizer.from_file(str(path))
    tokenizer = train_tokenizer(seed, TOKENIZER_DOCUMENTS)
    tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


if __name__ == "__main__":
    main()
