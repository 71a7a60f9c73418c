"""The authored inquiries: nothing stands twice, every set holds what its README promises."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter, defaultdict

import pytest

from classifiers.artefact import file_hash
from classifiers.dataset import Example, Labels, load_emergencies, load_labels, load_split
from classifiers.freshness import DEFAULT_DATA

SPLITS = ("train", "valid", "test")
LANGUAGES = {"en", "zh", "ko", "vi", "pt", "tl", "ne", "ja-easy"}
NEAR = 0.6


@pytest.fixture(scope="module")
def labels() -> Labels:
    return load_labels(DEFAULT_DATA)


@pytest.fixture(scope="module")
def sets(labels: Labels) -> dict[str, list[Example]]:
    return {s: load_split(DEFAULT_DATA, s, labels) + load_emergencies(DEFAULT_DATA, s) for s in SPLITS}


def _folded(text: str) -> str:
    return re.sub(r"[\s?？。!！]+", "", unicodedata.normalize("NFKC", text)).lower()


def _grams(text: str) -> frozenset[str]:
    folded = _folded(text)
    return frozenset(folded[i : i + 5] for i in range(max(1, len(folded) - 4)))


def test_the_readme_names_the_files_as_they_are() -> None:
    folder = DEFAULT_DATA / "inquiries"
    told = dict(re.findall(r"(\w+) ([0-9a-f]{16})\b", (folder / "README.md").read_text(encoding="utf-8")))
    assert told == {name: file_hash(folder / f"{name}.jsonl")[:16] for name in (*SPLITS, "emergency")}


def test_no_text_stands_in_two_sets(sets: dict[str, list[Example]]) -> None:
    for one, other in itertools.combinations(SPLITS, 2):
        both = {_folded(e.text) for e in sets[one]} & {_folded(e.text) for e in sets[other]}
        assert not both


def test_fewer_than_one_message_in_a_hundred_is_nearly_another(sets: dict[str, list[Example]]) -> None:
    """Character 5-grams, Jaccard above 0.6, over all sets together."""
    grams = [_grams(e.text) for examples in sets.values() for e in examples]
    holders: dict[str, list[int]] = defaultdict(list)
    near = set()
    for i, mine in enumerate(grams):
        shared = Counter(j for gram in mine for j in holders[gram])
        if any(n / (len(mine) + len(grams[j]) - n) > NEAR for j, n in shared.items()):
            near.add(i)
        for gram in mine:
            holders[gram].append(i)
    assert len(near) < 0.01 * len(grams)


def test_every_label_has_its_promised_number_of_messages(
    sets: dict[str, list[Example]], labels: Labels
) -> None:
    count = {
        split: Counter(e.department for e in examples if e.language == "ja" and not e.also)
        for split, examples in sets.items()
    }
    assert min(count["train"][d] for d in labels.departments) >= 200
    assert min(count["test"][d] for d in labels.departments) >= 40
    assert min(count["valid"][d] for d in labels.departments) >= 40
    assert count["train"]["small_talk"] + count["train"]["account"] >= 300
    assert count["train"]["out_of_scope"] >= 300
    assert sum(bool(e.also) for e in sets["train"]) >= 300
    assert sum(bool(e.emergency) for examples in sets.values() for e in examples) >= 300


def test_every_language_is_there_with_every_department(
    sets: dict[str, list[Example]], labels: Labels
) -> None:
    for language in LANGUAGES:
        spoken = [e for e in sets["train"] if e.language == language]
        assert len(spoken) >= 100
        assert {e.department for e in spoken} >= set(labels.departments)
        assert sum(e.language == language for e in sets["test"]) >= 30
    assert {e.language for examples in sets.values() for e in examples} == LANGUAGES | {"ja"}


def test_two_matters_are_two(sets: dict[str, list[Example]], labels: Labels) -> None:
    for example in (e for examples in sets.values() for e in examples if e.also):
        assert example.also != example.department
        assert {example.also, example.department} <= set(labels.departments)
