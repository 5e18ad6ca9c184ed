#!/usr/bin/env python3
"""Prints the sums that SharedPromptTests compares with: the prompts of real rows, made by EleutherAI's own code.

Usage: PYTHONPATH=HARNESS python3 harness_prompts.py DATA

HARNESS is a checkout of lm-evaluation-harness (the sums are those of commit 4e7e0d47f33bc71070c1d38394bafbb52b117163), DATA the folder
shared/data/tasks. Needs jinja2, numpy, tqdm, PyYAML and typing_extensions; what else the harness imports is replaced below, for it only
loads data sets from a hub or computes metrics.

A line is: task, number of requests, SHA-256 over the texts of all requests in order (context and continuation, or prompt and stop
strings), each in UTF-8 and followed by a zero byte.
"""
import hashlib
import importlib.metadata
import json
import pathlib
import sys
import types

import typing_extensions

DATA = pathlib.Path(sys.argv[1])
SEED = 1234  # the harness's default for drawing examples


class Rows(list):
    """As much of datasets.Dataset as tasks use."""

    @property
    def features(self):
        return dict.fromkeys(self[0])

    def map(self, change):
        return Rows({**row, **change(row)} for row in self)


class PreparedRows(Rows):
    """Rows that were published after the task's own preparation."""

    def map(self, change):
        return self


def stand_in(name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module


splits = {}
version = importlib.metadata.version
importlib.metadata.version = lambda name: "0" if name == "lm_eval" else version(name)
if not hasattr(typing_extensions, "deprecated"):
    typing_extensions.deprecated = lambda *_, **__: lambda function: function
stand_in("packaging")
stand_in("packaging.version", parse=lambda text: tuple(map(int, text.split("."))))
stand_in("datasets", __version__="3.0.0", Dataset=Rows, DownloadMode=object, load_dataset=lambda **_: splits)
for name in ("sacrebleu", "evaluate", "requests", "dill"):
    stand_in(name)

from lm_eval.tasks.manager import TaskManager  # noqa: E402

manager = TaskManager()


def read(name, kind=Rows):
    with open(DATA / name, encoding="utf-8") as file:
        return kind(json.load(file)["examples"]) if name.endswith(".json") else kind(json.loads(line) for line in file if line.strip())


def show(name, shots=None, **own):
    splits.clear()
    splits.update(own)
    (task,) = manager.load([name])["tasks"].values()
    if shots is not None:
        task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(SEED)
    task.build_all_requests()
    total = hashlib.sha256()
    for request in task.instances:
        texts = request.args if request.request_type == "loglikelihood" else (request.args[0], *request.args[1]["until"])
        for text in texts:
            total.update(text.encode() + b"\0")

    print(name, len(task.instances), total.hexdigest())


show("arc_challenge", train=[], validation=[], test=read("arc_challenge/validation.jsonl"))
show("hellaswag", train=PreparedRows(), validation=PreparedRows({**row, "label": row["gold"]} for row in read("hellaswag/validation-1000.jsonl")))
show("piqa", train=[], validation=read("piqa/validation.jsonl"))
show("winogrande", train=[], validation=read("winogrande/validation.jsonl"))
show("lambada_openai", test=Rows({"text": f"{row['context']} {row['continuation']}"} for row in read("lambada/lambada_openai-500.jsonl")))
show("gsm8k", train=read("gsm8k/train-20.jsonl"), test=read("gsm8k/test-200.jsonl"))
for folder in sorted((DATA / "mmlu").iterdir()):
    show(f"mmlu_{folder.name}", shots=5, dev=read(f"mmlu/{folder.name}/dev.jsonl"), test=read(f"mmlu/{folder.name}/test.jsonl"))
for file in sorted((DATA / "bbh").glob("*.json")):
    show(f"bbh_cot_fewshot_{file.stem}", test=read(f"bbh/{file.name}"))
