import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsezoo_hub.training.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n \n", []),
        ("One.", ["One."]),
        ("No stop at the end", ["No stop at the end"]),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("A line\nanother line.\n\nA paragraph", ["A line", "another line.", "A paragraph"]),
        ('He said "no." "Why?" asked she.', ['He said "no."', '"Why?" asked she.']),
        ("“Stop!” ‘And go.’ Then…  (Later.) Now", ["“Stop!”", "‘And go.’", "Then…", "(Later.)", "Now"]),  # noqa: RUF001
        ("Mr. Smith, Dr. J. Who et al. Came home.", ["Mr. Smith, Dr. J. Who et al. Came home."]),
        ("See Fig. 3, i.e. The one. 40 patients.", ["See Fig. 3, i.e. The one.", "40 patients."]),
        ("It cost 3.5 dollars at example.com today.", ["It cost 3.5 dollars at example.com today."]),
        ("P was .05. Élan counts.", ["P was .05.", "Élan counts."]),
        ("今日は。明日は！", ["今日は。", "明日は！"]),  # noqa: RUF001
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet=st.sampled_from("aB. !?\n\t\"'。…Mr1)(") | st.characters(), max_size=80))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() and "\n" not in sentence for sentence in sentences)


def test_a_long_text_takes_no_longer_than_its_length_asks() -> None:
    assert len(split_sentences("Mr. " * 20_000 + "No. " * 20_000)) == 1
    assert len(split_sentences("." * 100_000 + "\n" + '"' * 100_000)) == 2
