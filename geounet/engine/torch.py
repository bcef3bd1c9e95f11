"""The torch engine: CPU, CUDA and MPS with the same code."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geounet.bands import Normalizer
from geounet.bundle import Bundle
from geounet.engine.device import dtype_of, resolve_device, resolve_precision
from geounet.engine.memory import give_back, out_of_memory
from geounet.engine.port import CONFIDENCE_MAX, Batch, Prediction, one_by_one
from geounet.engine.stored import plain
from geounet.engine.streams import Streams
from geounet.errors import DeviceError
from geounet.spec import Seam

_MINIBATCH = {"cpu": 1, "cuda": 1, "mps": 4}
"""Tiles a pass. On CUDA they are large enough to keep a GPU busy one by one, and the next one is
copied meanwhile."""

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)


class TorchEngine:
    """The torch adapter of :class:`~geounet.engine.port.ModelEngine`: CPUs and GPUs.

    Normalising, the forward pass, softmax, crop and argmax run on the device; batch norm is folded
    into the convolutions and tensors are channels_last (4.7 times the speed of plain NCHW float32
    on a CPU with bfloat16); half precision begins after the first convolution. Out of memory halves
    the minibatch and goes on.

    Raises:
        OptionError, DeviceError: The device or the precision is not to be had.
        ModelError: The weights do not fit the spec.
    """

    name = "torch"

    def __init__(
        self,
        bundle: Bundle,
        normalizer: Normalizer,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self._device = resolve_device(device)
        self._precision = resolve_precision(precision, self._device, bundle.spec.bf16_agreement)
        self._dtype = dtype_of(self._precision)
        network = bundle.network
        self._seam: Seam = bundle.spec.seam
        self._stride = network.stride
        self._halo = network.halo
        self._network = in_precision(fold_batch_norm(network), self._dtype).to(self._device)
        for parameter in self._network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self._normalizer = normalizer
        self._constants = self._to_device(normalizer)
        codes = torch.tensor(bundle.spec.classes.codes, dtype=torch.uint8)
        self._codes = codes.to(self._device)
        self._minibatch = _MINIBATCH[self._device.type]

    @property
    def device(self) -> str:
        """``cpu``, ``cuda:N`` or ``mps``."""
        return str(self._device)

    @property
    def precision(self) -> str:
        """``fp32``, ``bf16`` or ``fp16``."""
        return self._precision

    @property
    def side(self) -> None:
        """Tiles may have any size."""
        return

    @property
    def stride(self) -> int:
        """Total stride of the network."""
        return self._stride

    @property
    def seam(self) -> Seam:
        """How its tiles are to be joined: ``exact`` or ``blend``."""
        return self._seam

    @property
    def halo(self) -> int:
        """The network's receptive radius, rounded up to its stride; or what blending asks for."""
        return self._halo

    @property
    def minibatch(self) -> int:
        """Tiles a forward pass; halved when the device runs out of memory."""
        return self._minibatch

    def predict(
        self, tiles: NDArray[Any], valid: NDArray[np.bool_], *, confidence: bool
    ) -> Prediction:
        """See :meth:`geounet.engine.port.Engine.predict`."""
        done = self._in_parts(
            lambda part: self._classify(tiles[part], valid[part], confidence=confidence),
            tiles.shape,
        )
        sure = [part.confidence for part in done if part.confidence is not None]
        return Prediction(
            labels=np.concatenate([part.labels for part in done]),
            confidence=np.concatenate(sure) if confidence else None,
        )

    def predict_each(self, batches: Iterable[Batch], *, confidence: bool) -> Iterator[Prediction]:
        """See :meth:`geounet.engine.port.Engine.predict_each`; on CUDA, with two streams."""
        if self._device.type != "cuda":
            yield from one_by_one(self, batches, confidence=confidence)
            return
        streams, waiting = Streams(self._device), None
        for batch in batches:
            begun = self._begin(streams, batch, confidence=confidence)
            if waiting is not None:
                yield waiting()
            waiting = begun
        if waiting is not None:
            yield waiting()

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(classes,), the class code of each channel."""
        return np.asarray(self._codes.cpu().numpy())

    def probabilities(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See :meth:`geounet.engine.port.BlendEngine.probabilities`."""
        done = self._in_parts(lambda part: self._softmax(tiles[part], valid[part]), tiles.shape)
        return done[0] if len(done) == 1 else np.concatenate(done)

    def logits(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See :meth:`geounet.engine.port.ModelEngine.logits`."""
        with torch.inference_mode():
            return np.asarray(self._forward(tiles, valid).float().cpu().numpy())

    def _in_parts(self, run: Callable[[slice], T], shape: tuple[int, ...]) -> list[T]:
        """What ``run`` gives for each minibatch of an array of tiles of this shape."""
        done: list[T] = []
        start = 0
        while start < shape[0]:
            part = slice(start, start + self._minibatch)
            failed = None
            try:
                done.append(run(part))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                # not halved in here: the error still holds the tensors of the pass that failed
                failed = str(error)
            if failed is None:
                start = part.stop
            else:
                self._halve(shape, failed)
        return done

    def _softmax(self, tiles: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        with torch.inference_mode():
            # in float32 whatever the precision, and a channel after the other, as they are added up
            odds = torch.softmax(self._forward(tiles, valid).float(), 1).contiguous()
            return np.asarray(odds.cpu().numpy())

    def _begin(
        self, streams: Streams, batch: Batch, *, confidence: bool
    ) -> Callable[[], Prediction]:
        """A prediction in the making; where memory is short, one that is made when it is taken."""
        tiles, valid = batch
        if len(tiles) <= self._minibatch:
            try:
                with torch.inference_mode():
                    there = streams.put([self._storable(tiles), valid])
                    found = self._classes(self._through(*there, core=True), confidence=confidence)
                    wait = streams.take(found)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
            else:
                return lambda: _prediction(wait())
        return lambda: self.predict(tiles, valid, confidence=confidence)

    def _classify(
        self, tiles: NDArray[Any], valid: NDArray[np.bool_], *, confidence: bool
    ) -> Prediction:
        with torch.inference_mode():
            found = self._classes(self._forward(tiles, valid, core=True), confidence=confidence)
            return _prediction([tensor.cpu().numpy() for tensor in found])

    def _classes(self, logits: Tensor, *, confidence: bool) -> list[Tensor]:
        """Labels, and the largest probability in percent if it is asked for, as bytes."""
        best = logits.max(1)
        labels = self._codes[best.indices]
        if not confidence:
            return [labels]
        # the largest probability: exp(best - logsumexp), in float32 whatever the precision
        odds = best.values.float() - torch.logsumexp(logits.float(), 1)
        return [labels, odds.exp().mul(CONFIDENCE_MAX).round().to(torch.uint8)]

    def _forward(
        self, tiles: NDArray[Any], valid: NDArray[np.bool_], *, core: bool = False
    ) -> Tensor:
        """Logits, with the halo or of the core alone."""
        there = self._upload(self._storable(tiles)), self._upload(valid)
        return self._through(*there, core=core)

    def _through(self, tiles: Tensor, valid: Tensor, *, core: bool) -> Tensor:
        """The same of what is on the device."""
        low, high, scale, offset, mean, std = self._constants
        if tiles.dtype == torch.uint16:  # GPUs compute with few unsigned types
            tiles = tiles.view(torch.int16).int().bitwise_and_(0xFFFF)
        x = tiles.float() * scale  # one new tensor, in which all the rest happens
        x.add_(offset).clamp_(low, high).sub_(mean).div_(std)
        x.masked_fill_(~valid[:, None], 0)
        x = x.contiguous(memory_format=torch.channels_last)
        with _full_float32(self._device):
            return self._network.core(x, self._halo) if core else self._network(x)

    def _storable(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """In a type that the device takes; as few bytes as may be over the bus of a GPU."""
        if self._device.type == "cuda" and tiles.dtype == np.uint16:
            return tiles
        return plain(tiles)

    def _upload(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if self._device.type == "cuda":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _to_device(self, n: Normalizer) -> tuple[float, float, Tensor, Tensor, Tensor, Tensor]:
        scale, offset, mean, std = (
            torch.from_numpy(v).to(self._device)[None, :, None, None]
            for v in (n.scale, n.offset, n.mean, n.std)
        )
        return n.low, n.high, scale, offset, mean, std

    def _halve(self, shape: tuple[int, ...], failed: str) -> None:
        if self._minibatch == 1:
            elsewhere = "" if self._device.type == "cpu" else ", or --device cpu"
            raise DeviceError(
                f"one tile of {shape[2]} x {shape[3]} pixels does not fit into the memory of"
                f" {self._device}: pass a smaller --tile{elsewhere}"
            ) from RuntimeError(failed)
        self._minibatch //= 2
        give_back(self._device)


def _prediction(found: list[NDArray[np.uint8]]) -> Prediction:
    labels, *percent = found
    return Prediction(labels=labels, confidence=percent[0] if percent else None)


def fold_batch_norm(network: N) -> N:
    """A copy in which each batch norm is part of the convolution before it (evaluation mode)."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, nn.Sequential):
            for i, (first, second) in enumerate(zip(module, list(module)[1:], strict=False)):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    module[i] = fuse_conv_bn_eval(first, second)
                    module[i + 1] = nn.Identity()
    return folded


def in_precision(network: N, dtype: torch.dtype) -> N:
    """The network itself, made to compute in ``dtype`` but for its first convolution.

    That one stays in float32, and so does the input: bands rise and fall together, and the small
    differences between them, which tell classes apart, are lost in the eight bits of a bfloat16.
    It is a few per cent of the work, and half of the labels that would change, or more, do not.
    """
    network.to(dtype)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.float().register_forward_hook(lambda _conv, _inputs, out: out.to(dtype))
    return network


@contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """float32 convolutions as they are: cuDNN would round their input to the ten bits of TF32."""
    if device.type != "cuda":
        yield
        return
    with _IEEE:
        yield


class _Ieee:
    """A setting of the whole process, while at least one thread needs it."""

    def __init__(self) -> None:
        self._lock, self._threads, self._before = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._before = _set_precision("ieee", tf32=False)
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                _set_precision(self._before, tf32=self._before)


_IEEE = _Ieee()


def _set_precision(name: Any, *, tf32: Any) -> Any:
    """Set cuDNN's precision of float32 convolutions; gives what it was."""
    cudnn: Any = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):  # torch < 2.9, where there is one switch for all of cuDNN
        before, cudnn.allow_tf32 = cudnn.allow_tf32, tf32
    else:
        before, cudnn.conv.fp32_precision = cudnn.conv.fp32_precision, name
    return before
