"""Text on a Hub, streamed and in memory, in a process of its own: the client reads HF_ENDPOINT once."""

import json
import sys

from huggingface_hub import HfApi
from stream_case import dealt, loader, settings

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.corpora import read_text_files
from sparsezoo_hub.training.streams.corpus import streamed_corpus
from sparsezoo_hub.training.text_addresses import find_text_files, hub_commits
from sparsezoo_hub.training.text_files import TEXT_FORMATS

ENDINGS = tuple(TEXT_FORMATS)

folder = sys.argv[1]
api = HfApi()
api.create_repo("owner/text")
api.upload_folder(repo_id="owner/text", folder_path=folder, path_in_repo="data")
first = api.repo_info("owner/text").sha

addresses = ["hf://owner/text/data/*.jsonl", "hf://owner/text/data/b.parquet"]
commits = hub_commits(addresses, {})
files = find_text_files(addresses, ENDINGS, commits)
batches = list(dealt([loader(settings(streamed_corpus({"": files}, {})))], 4))

# The branch goes on; an earlier start's commit is kept.
api.upload_file(repo_id="owner/text", path_or_fileobj=b'{"text": "new"}\n', path_in_repo="data/a.jsonl")
later = find_text_files(addresses, ENDINGS, hub_commits(addresses, commits))
in_folder = find_text_files(["hf://owner/text/data"], ENDINGS, hub_commits(["hf://owner/text/data"], {}))
pinned = hub_commits([f"hf://owner/text@{first}/data/a.jsonl"], {})

problems = []
for address in (
    "hf://owner/text/data/gone.jsonl",
    "hf://owner/nothing/a.jsonl",
    "hf://x",
    "hf://owner/text/*.txt",
):
    try:
        find_text_files([address], ENDINGS, hub_commits([address], {}))
    except CorpusError as error:
        problems.append(str(error))

sys.stdout.write(
    json.dumps(
        {
            "commits": commits,
            "first": first,
            "files": [[file.address, file.size] for file in files],
            "later": later == files,
            "in_folder": [file.name for file in in_folder],
            "new_size": in_folder[0].size,
            "pinned": pinned,
            "batches": batches,
            "in_memory": [document.text for document in read_text_files(files)][:3],
            "problems": problems,
        }
    )
)
