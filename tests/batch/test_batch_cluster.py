"""What local workers are given, and what is said where there are none."""

from __future__ import annotations

import pytest

from geounet.batch import BatchOptions
from geounet.batch.cluster import Crew, crew, visible_gpus, worker_environments
from geounet.errors import ClusterError, DependencyError
from geounet.options import SegmentOptions

pytest.importorskip("distributed")


@pytest.mark.parametrize(
    ("asked", "cores", "memory", "threads"),
    [
        (None, 4, 64e9, ["1"] * 4),
        (None, 16, 9e9, ["4"] * 4),
        (None, 4, 1e9, ["4"]),
        (2, 4, 64e9, ["2"] * 2),
        (3, 2, 64e9, ["1"] * 3),
    ],
)
def test_workers_share_cores_and_memory(monkeypatch, asked, cores, memory, threads) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = worker_environments(asked, [], cores=cores, memory=memory)
    assert found == [{"OMP_NUM_THREADS": number} for number in threads]


def test_threads_that_are_asked_for_count_for_each_worker(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert worker_environments(2, [], cores=4) == [{"OMP_NUM_THREADS": "3"}] * 2


@pytest.mark.parametrize(
    ("asked", "gpus", "names"),
    [
        (None, ["0", "1", "2"], ["0", "1", "2"]),
        (2, ["0", "1", "2"], ["0", "1"]),
        (5, ["4", "GPU-a"], ["4", "GPU-a", "4", "GPU-a", "4"]),
    ],
)
def test_each_gpu_has_its_worker(asked, gpus, names) -> None:
    found = worker_environments(asked, gpus, cores=8, memory=1e9)
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in found] == names


def test_gpus_are_those_that_are_visible(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-7")
    assert visible_gpus("cuda") == ["2", "GPU-7"]
    assert visible_gpus("cpu") == visible_gpus("auto") == visible_gpus("cuda:1") == []


def connect(folder, address) -> None:
    options = BatchOptions(folder=folder, segment=SegmentOptions(), scheduler=address)
    with crew(options):
        pass


def test_without_a_scheduler(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("geounet.batch.cluster._CONNECT", 1)
    with pytest.raises(ClusterError, match=r"tcp://127\.0\.0\.1:9: no scheduler answers there"):
        connect(tmp_path, "tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match="--scheduler nonsense: no scheduler answers there"):
        connect(tmp_path, "nonsense")


def test_without_distributed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("geounet.batch.cluster.find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match=r'pip install "geounet\[batch\]"'):
        connect(tmp_path, None)


class Client:
    """One whose workers are told."""

    def __init__(self, cores) -> None:
        self.cores = cores

    def ncores(self):
        if self.cores is None:
            raise OSError
        return self.cores


def test_workers_that_are_gone_for_good_end_the_batch(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr("geounet.batch.cluster.time.monotonic", lambda: now)
    client = Client({"a": 2, "b": 1})
    workers = Crew(client, "tcp://a:1")
    assert workers.size == 3
    for cores in ({}, None, {}):
        now, client.cores = now + 20, cores
        assert workers.size == 1
    now, client.cores = now + 20, {"c": 4}
    assert workers.size == 4
    now, client.cores = now + 2, {}
    assert workers.size == 1
    now += 61
    with pytest.raises(ClusterError, match=r"tcp://a:1 has no worker any more: start some"):
        workers.size  # noqa: B018
