"""Weights that others have trained, for encoders of segmentation-models-pytorch."""

from __future__ import annotations

import logging.handlers
import pickle

import pytest
import safetensors.torch
import torch

from geounet.errors import ModelError
from geounet.nn import build
from geounet.nn.pretrained import adapt_stem, read_tensors
from geounet.nn.smp import EncoderDecoder
from geounet.spec import ArchSpec

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what the library imports
]


@pytest.fixture(scope="module")
def trained():
    """An encoder of three bands, standing for a pretrained one."""
    torch.manual_seed(5)
    return EncoderDecoder("unet-resnet18", 3, 2).encoder.state_dict()


def saved(path, state):
    state = {k: v.contiguous() for k, v in state.items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


def encoder_of(name, bands, weights):
    return build(ArchSpec(name=name), bands, 2, encoder_weights=weights).encoder.state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", ["", "backbone.", "model.encoder."])
@pytest.mark.parametrize("name", ["unet-resnet18", "fpn-tu-resnet18"])
def test_from_a_file(tmp_path, trained, suffix, prefix, name):
    state = {prefix + k: v for k, v in trained.items()} | {"fc.weight": torch.zeros(2, 2)}
    got = encoder_of(name, 3, saved(tmp_path / f"w{suffix}", state))
    own = "model." if "tu-" in name else ""
    for key, tensor in trained.items():
        assert torch.equal(got[own + key], tensor) or key.endswith("num_batches_tracked")


def test_wrapped_in_a_checkpoint_and_given_as_text(tmp_path, trained):
    path = tmp_path / "w.ckpt"
    torch.save({"epoch": 3, "state_dict": dict(trained)}, path)
    got = encoder_of("unet-resnet18", 3, str(path))
    assert torch.equal(got["layer1.0.conv1.weight"], trained["layer1.0.conv1.weight"])


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7, 13])
def test_another_number_of_bands_sees_a_grey_input_as_before(tmp_path, trained, bands):
    got = encoder_of("unet-resnet18", bands, saved(tmp_path / "w.safetensors", trained))
    assert got["conv1.weight"].shape[1] == bands
    grey = torch.randn(1, 1, 16, 16)
    before, after = (
        torch.nn.functional.conv2d(grey.expand(1, w.shape[1], 16, 16), w)
        for w in (trained["conv1.weight"], got["conv1.weight"])
    )
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)


def test_more_bands_repeat_the_old_ones_in_turn():
    weight = torch.randn(4, 3, 7, 7)
    assert torch.equal(adapt_stem(weight, 6)[:, 3:], weight / 2)
    assert adapt_stem(weight, 3) is weight


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was read",)

    path = tmp_path / "w.pt"
    for write in (
        lambda: torch.save({"a": torch.zeros(1), "b": Trap()}, path),
        lambda: path.write_bytes(pickle.dumps(Trap())),
    ):
        write()
        with pytest.raises(ModelError, match=r"w\.pt holds more than tensors, .* is refused"):
            read_tensors(path)


@pytest.mark.parametrize(
    ("content", "name", "match"),
    [
        (b"", "w.pt", "holds no weights"),
        (b"junk", "w.safetensors", "holds no weights"),
        (None, "gone.safetensors", "cannot be read"),
        (None, "gone.pth", r"cannot be read \(No such file or directory\)"),
    ],
)
def test_a_file_that_holds_no_weights(tmp_path, content, name, match):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=match) as caught:
        encoder_of("unet-resnet18", 3, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_encoder(tmp_path, trained):
    path = saved(tmp_path / "w.safetensors", trained)
    with pytest.raises(ModelError, match=r"does not fit the encoder resnet34: \d+ of \d+ tensors"):
        encoder_of("unet-resnet34", 3, path)
    odd = {**trained, "layer1.0.conv1.weight": torch.zeros(64, 64, 5, 5)}
    with pytest.raises(ModelError, match=r"1 have another shape \(e.g. layer1.0.conv1.weight \(64"):
        encoder_of("unet-resnet18", 3, saved(path, odd))


def test_names_that_no_registry_has():
    with pytest.raises(ModelError, match="no encoder weights 'imagnet' for resnet18: choose image"):
        encoder_of("unet-resnet18", 3, "imagnet")
    with pytest.raises(ModelError, match=r"torchgeo has no weights 'ResNet18_Weights\.NOPE'"):
        encoder_of("unet-resnet18", 3, "ResNet18_Weights.NOPE")


def test_by_the_name_of_a_registry(monkeypatch, trained):
    from torchgeo.models import ResNet18_Weights

    seen = []

    def fetched(self, **_options):
        seen.append(str(self))
        return dict(trained)

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", fetched)
    got = encoder_of("unet-resnet18", 5, "ResNet18_Weights.SENTINEL2_RGB_MOCO")
    assert seen == ["ResNet18_Weights.SENTINEL2_RGB_MOCO"]
    assert torch.equal(got["layer1.0.conv1.weight"], trained["layer1.0.conv1.weight"])
    assert got["conv1.weight"].shape[1] == 5


@pytest.mark.parametrize("weights", ["imagenet", "ResNet18_Weights.SENTINEL2_RGB_MOCO"])
def test_without_a_network_there_is_one_clear_line(monkeypatch, weights):
    import segmentation_models_pytorch as smp
    from torchgeo.models import ResNet18_Weights

    told = logging.handlers.BufferingHandler(9)
    hub = logging.getLogger("huggingface_hub")
    monkeypatch.setattr(hub, "handlers", [told])

    def offline(*_args, **_options):
        logging.getLogger("huggingface_hub.utils").warning("Retrying in 1s [Retry 1/5].")
        cause = OSError("Temporary failure in\nname resolution")
        raise ValueError("An error happened") from cause

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", offline)
    monkeypatch.setattr(smp.encoders, "get_encoder", offline)
    match = r"cannot be fetched \(Temporary failure in name resolution\): without a network, down"
    with pytest.raises(ModelError, match=match):
        encoder_of("unet-resnet18", 3, weights)
    if weights == "imagenet":
        assert not told.buffer
    hub.warning("the hub is heard again")
    assert told.buffer
