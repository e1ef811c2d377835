"""The tokenizer: byte-level BPE over single words, in the standard file of Hugging Face's tokenizers.

Text is folded (lower case, no accents) and cut into runs of letters, runs of digits, and single other characters. Each
begins with the mark of a space, whatever stood before it, so that `(kitchen` and `the kitchen` hold the same token, and
the network can see from a token alone whether it begins a word."""

import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

VOCABULARY = 6000
PAD, MARK = "[PAD]", "Ġ"


# in lower case Σ is ς at the end of a word for some libraries, σ for others
FINAL_SIGMA = normalizers.Replace("ς", "σ")


def train_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), FINAL_SIGMA]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\s+"), "removed"),
            pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}+|[^\p{L}\p{N}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer, path):
    path.write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")


def starts_of(tokenizer):
    """For each token: does it begin a word?"""
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    return [token.startswith(MARK) for token, _ in tokens]


# ranges of letters and signs, from which strings are drawn that no note holds
RANGES = (
    (0x20, 0x7E),  # ASCII
    (0xA0, 0x17F),  # Latin with accents
    (0x370, 0x3FF),  # Greek
    (0x400, 0x45F),  # Cyrillic
    (0x5D0, 0x5EA),  # Hebrew
    (0x627, 0x64A),  # Arabic
    (0x905, 0x94D),  # Devanagari, with vowel signs
    (0xE01, 0xE3A),  # Thai
    (0x1EA0, 0x1EF9),  # Vietnamese
    (0x2010, 0x2044),  # dashes and quotes
    (0x2190, 0x21FF),  # arrows
    (0x3041, 0x30FE),  # kana
    (0x4E00, 0x9FA5),  # Han
    (0xAC00, 0xD7A3),  # Hangul
    (0xFF01, 0xFF5E),  # full width
    (0x1F300, 0x1F5FF),  # pictures
    (0x1F600, 0x1F64F),  # faces
)
AWKWARD = [
    '', ' ', '\n\t ', 'a', "don't", 'e\u0301te\u0301 = été', 'ÅNGSTRÖM', 'straße STRASSE', 'Ĳsselmeer', 'ﬁne ﬂow', 'x\u00a0y\u2009z', 'a\u200bb', '👩‍👩‍👧‍👦 family',
    '🇫🇷🇩🇪', '👍🏽', '½ + ¼', '12,345.67 €', '٣٤٥', 'ⅻ', 'a_b-c.d/e', '192.168.178.1', 'AB-4711', 'C++ & C#', '#tag @name', '日本語のテキスト', '中文笔记：钥匙在抽屉里',
    '한국어 메모', 'Заметка о ключах', 'ملاحظة', 'पासवर्ड', 'word' * 80, '7' * 90, '\u0301', '[PAD]', 'Ġ', '\ufeffx', '\u0000', '"\\', 'line\r\nbreak', 'Ὀδυσσεύς', 'ΟΔΟΣ ΟΔΟΣ',
]  # fmt: skip


def hard_strings(rng, number):
    """Strings for the comparison of this tokenizer with another implementation of its file."""
    yield from AWKWARD
    for _ in range(number - len(AWKWARD)):
        parts = []
        for _ in range(rng.randint(1, 5)):
            low, high = rng.choice(RANGES)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))))
        yield rng.choice(["", " ", "  "]).join(parts)
