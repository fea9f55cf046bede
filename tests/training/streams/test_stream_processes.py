"""Streams in real processes that train together."""

import json
from pathlib import Path

import pytest
from forked_processes import ended, forked, ranks, words
from stream_case import dealt, loader, parts, settings, write_corpus
from stream_ranks import deal

pytestmark = pytest.mark.distributed


def test_two_processes_are_dealt_one_processs_batches_and_know_where_all_lanes_stand(tmp_path: Path) -> None:
    path, out = write_corpus(tmp_path / "a.jsonl"), tmp_path / "said.json"
    processes = [forked(tmp_path / each["RANK"], deal, path, out, environment=each) for each in ranks(2)]
    assert ended(processes) == [0, 0], [words(tmp_path / str(rank)) for rank in range(2)]
    said = json.loads(out.read_text())
    alone = loader(settings(parts({"": path})))
    assert said["batches"] == list(dealt([alone], 3))
    assert said["lanes"] == alone.tensors()["lanes"].tolist()
