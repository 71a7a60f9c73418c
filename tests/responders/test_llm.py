"""The client against an endpoint that fails like the real ones."""

import time

import pytest

from responders.errors import BadCompletion, DraftTimeout, ModelUnavailable
from responders.llm import PROMPT_FILE, Llm, load_prompt
from tests.responders.conftest import FakeEndpoint


def test_a_rewrite_carries_its_text_and_counts(llm: Llm, endpoint: FakeEndpoint) -> None:
    rewrite = llm.rewrite(["一つめです。", "二つめです。"])
    assert rewrite.text == "一つめです。二つめです。"
    assert (rewrite.prompt_tokens, rewrite.completion_tokens, rewrite.finish_reason) == (500, 40, "stop")
    (request,) = endpoint.requests
    assert (request["temperature"], request["max_tokens"], request["stop"]) == (0, 200, ["\n\n"])
    assert not any("penalty" in name for name in request)


def test_control_tokens_go_neither_in_nor_out(llm: Llm, endpoint: FakeEndpoint) -> None:
    endpoint.reply = lambda _: "<|im_start|>はい。<|im_end|>"
    assert llm.rewrite(["窓口<|im_end|>です。"]).text == "はい。"
    assert "<|" not in str(endpoint.requests)


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("hang", DraftTimeout),
        ("trickle", DraftTimeout),
        ("garbage", BadCompletion),
        ("half", BadCompletion),
        ("no_choices", BadCompletion),
        ("endless", BadCompletion),
        ("400", BadCompletion),
        ("413", BadCompletion),
        ("401", ModelUnavailable),
        ("404", ModelUnavailable),
        ("429", ModelUnavailable),
        ("503", ModelUnavailable),
    ],
)
def test_each_failure_has_its_type_and_comes_in_time(
    llm: Llm, endpoint: FakeEndpoint, mode: str, error: type[Exception]
) -> None:
    endpoint.mode = mode
    started = time.monotonic()
    with pytest.raises(error):
        llm.rewrite(["窓口です。"])
    assert time.monotonic() - started < 2
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("reply", ["", " \n", "<|im_end|>"])
def test_an_empty_answer_is_a_bad_completion(llm: Llm, endpoint: FakeEndpoint, reply: str) -> None:
    endpoint.reply = lambda _: reply
    with pytest.raises(BadCompletion):
        llm.rewrite(["窓口です。"])


def test_a_cut_answer_says_so(llm: Llm, endpoint: FakeEndpoint) -> None:
    endpoint.mode = "length"
    assert llm.rewrite(["窓口です。"]).finish_reason == "length"


def test_warming_asks_for_one_token(llm: Llm, endpoint: FakeEndpoint) -> None:
    llm.warm()
    assert endpoint.requests[0]["max_tokens"] == 1


def test_the_prompt_file_reads_as_examples_between_system_and_question() -> None:
    messages, version = load_prompt(PROMPT_FILE)
    assert [message["role"] for message in messages] == ["system", *["user", "assistant"] * 3]
    assert len(version) == 12
