"""Weight files that are damaged, something else, or claim more than they hold: one line, and no memory taken."""

import json
import resource
import tarfile
import zipfile

import pytest
import safetensors.torch
import torch

from scorereg import NetworkPrior, load_prior
from scorereg.priors import build_network
from scorereg.priors.weights import float_weights, header_shapes, read_content, read_tensors
from tests.priors.test_lucidrains import checkpoint
from tests.priors.test_priors_network import make_card


def refused(path, says, kind=ValueError, read=load_prior):
    with pytest.raises(kind, match=says) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "network-snapshot.pkl", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS, .* git lfs pull"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        (b"\x80\x04\x95ctorch_utils.persistence\n_reconstruct_persistent_obj\n", "snapshot of EDM or StyleGAN"),
        (b"\x00" * 500, "no readable checkpoint|damaged or no safetensors"),
        (b"PK\x03\x04" + b"\x07" * 500, "no readable checkpoint|damaged or no safetensors"),
    ],
)
def test_other_files_under_a_checkpoints_name(name, content, says, tmp_path):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, says)


def test_packed_folders(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as packed:
        packed.write(tmp_path / "config.json", "model/config.json")
    refused(tmp_path / "model.zip", "is an archive of other files. Unpack it")
    with tarfile.open(tmp_path / "model.tar", "w") as packed:
        packed.add(tmp_path / "config.json")
    refused(tmp_path / "model.tar", "is a packed archive. Unpack it")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as packed:
        packed.add(tmp_path / "config.json")
    refused(tmp_path / "model.tar.gz", "is a packed archive. Unpack it")


def test_files_that_are_no_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path / "config.json", f"holds settings, not weights. Give its folder: load_prior\\('{tmp_path}'")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", "no readable checkpoint.*no file of torch.save")
    with zipfile.ZipFile(tmp_path / "program.pt", "w") as packed:  # as torch.jit.save lays it out
        packed.writestr("program/code/__torch__.py", "class Linear: ...")
        packed.writestr("program/data.pkl", "x")
    refused(tmp_path / "program.pt", "is a TorchScript program. Wrap it")


def test_files_of_before_torch_wrote_archives(tmp_path):
    content = torch.load(checkpoint(tmp_path / "m.pt"), weights_only=True)
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    x, sigma = torch.randn(1, 3, 8, 8), torch.tensor([0.5])
    one, two = load_prior(tmp_path / "m.pt"), load_prior(tmp_path / "old.pt")
    assert torch.equal(one.denoise(x, sigma), two.denoise(x, sigma))


def test_a_flipped_bit_in_an_archive_is_seen(tmp_path):
    path = checkpoint(tmp_path / "m.pt")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda record: record.file_size)
    data[largest.header_offset + 300] ^= 4
    path.write_bytes(data)
    refused(path, f"m.pt is damaged: the checksum of {largest.filename} is wrong")


def test_an_archive_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(False)
        path = checkpoint(tmp_path / "m.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert load_prior(path).channels == ("r", "g", "b")


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    path, packed = checkpoint(tmp_path / "m.pt"), tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    refused(packed, "packed.pt has compressed records")


def test_weights_of_few_numbers_take_no_memory(tmp_path):
    """A view of one number as 10^11 of them: 400 GB, were it made whole."""
    path = tmp_path / "m.pt"
    content = torch.load(checkpoint(path, ema=False), weights_only=True)
    content["model"]["model.final_conv.weight"] = torch.zeros(()).expand(10**5, 10**6, 1, 1)
    torch.save(content, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, r"m.pt names 100,000,\d\d\d,\d\d\d weights, more than it has bytes")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # kB


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_no_network_has(value, tmp_path):
    path = tmp_path / "m.pt"
    content = torch.load(checkpoint(path, ema=False), weights_only=True)
    content["model"]["model.mid_block1.block1.proj.weight"][0, 0, 0, :2] = value
    torch.save(content, path)
    refused(path, r"m.pt: 2 of \d+ values of mid_block1.block1.proj.weight are NaN, infinite, or beyond 1e\+08")


def test_a_hole_is_warned_of(tmp_path):
    value = torch.randn(100)
    torch.save({"w": value}, tmp_path / "m.pt")
    float_weights(
        {"w": value, "all_zero": torch.zeros(50), "few": value * (torch.arange(100) % 3 > 0)}, tmp_path / "m.pt"
    )
    value[40:53] = 0
    with pytest.warns(UserWarning, match="m.pt: 13 zeros in a row among the weights of w: the file may have a hole"):
        float_weights({"w": value}, tmp_path / "m.pt")


def test_quantised_and_other_tensors(tmp_path):
    torch.save({"w": torch.zeros(2)}, tmp_path / "m.pt")
    for value, says in (
        (torch.zeros(2, dtype=torch.int8), "w is of torch.int8, quantised"),
        (torch.zeros(2, dtype=torch.complex64), "w is no plain tensor"),
        (torch.zeros(2).to_sparse(), "w is no plain tensor"),
        (torch.zeros(2, device="meta"), "w is no plain tensor"),
    ):
        with pytest.raises(ValueError, match=says):
            float_weights({"w": value}, tmp_path / "m.pt")
    assert float_weights({"w": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "m.pt")["w"].dtype == torch.float32


def test_converted_weights_have_memory_of_their_own(tmp_path):
    value = torch.ones(2)
    torch.save({"w": value}, tmp_path / "m.pt")
    float_weights({"w": value}, tmp_path / "m.pt")["w"].zero_()
    assert value.tolist() == [1, 1]


def test_shapes_come_from_the_header(tmp_path):
    state = {"a": torch.zeros(2, 3), "b": torch.zeros(())}
    safetensors.torch.save_file(state, tmp_path / "m.safetensors")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "m.bin")
    for name in ("m.safetensors", "m.bin"):
        assert header_shapes(tmp_path / name) == {"a": (2, 3), "b": ()}
        assert set(read_tensors(tmp_path / name)) == {"a", "b"}


def test_a_pickle_that_nests_without_end(tmp_path):
    (tmp_path / "m.pt").write_bytes(b"\x80\x02" + b"(" * 100_000 + b".")
    refused(tmp_path / "m.pt", "no readable checkpoint", read=read_content)


@pytest.fixture
def own(tmp_path):
    """A prior's folder as this library writes it."""
    torch.manual_seed(0)
    network = build_network("tiny", patch_size=8, channels=4)
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.05)
    NetworkPrior(network, make_card()).save_pretrained(tmp_path / "own")
    return tmp_path / "own"


def test_any_change_of_own_weights_is_seen(own):
    load_prior(own)
    path = own / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1  # the last digit of a weight
    path.write_bytes(data)
    refused(path, "is damaged: its weights are not those that were written", read=lambda _: load_prior(own))


def test_any_change_of_own_settings_is_seen(own):
    path = own / "config.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    load_prior(own)  # line ends are no change
    path.write_text(path.read_text().replace('"norm_eps": 1e-05', '"norm_eps": 2e-05'))
    refused(path, "config.json is not the file that was written with its weights", read=lambda _: load_prior(own))


def test_a_description_of_a_larger_network_takes_no_memory(own):
    path, weights = own / "config.json", own / "diffusion_pytorch_model.safetensors"
    path.write_text(path.read_text().replace("64\n", "262144\n"))
    with pytest.raises(ValueError, match="config.json is not the file that was written with its weights"):
        load_prior(own)
    safetensors.torch.save_file(safetensors.torch.load_file(weights), weights)  # without the record
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        pytest.warns(UserWarning, match="holds no record"),
        pytest.raises(ValueError, match="does not hold this network's weights"),
    ):
        load_prior(own)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", {"patchify": "2"}),
        ("network", {"patchify": 0}),
        ("network", {"conditional": "yes"}),
        ("range", [0.5, 0.5]),
        ("range", ["-1", "1"]),
        ("sigma_max", 10**400),
        ("assumed", "data in [-1, 1]"),
    ],
)
def test_values_that_a_card_cannot_have(name, value, own):
    path = own / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    refused(path, f"card.json: `{name}` cannot be", read=lambda _: load_prior(own))


def test_a_card_that_lost_a_fact_of_depth(own):
    path = own / "card.json"
    entries = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: value for name, value in entries.items() if name not in ("focal", "weights_sha256")})
    )
    with pytest.warns(UserWarning, match="card.json names no focal, so that it is not known"):
        load_prior(own)
    path.write_text("[" * 100_000)
    refused(path, "card.json is no valid JSON", read=lambda _: load_prior(own))


def test_equal_weights_are_equal_files(tmp_path):
    """The library that writes the tensors orders facts at random."""
    prior = NetworkPrior(build_network("tiny", patch_size=16, channels=3), make_card())
    written = set()
    for number in range(8):
        prior.save_pretrained(tmp_path / str(number))
        path = tmp_path / str(number) / "diffusion_pytorch_model.safetensors"
        written.add(path.read_bytes())
    assert len(written) == 1
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["format"] == "pt"
        for name, value in prior.network.state_dict().items():
            assert torch.equal(file.get_tensor(name), value.half())


@pytest.mark.parametrize("zipped", [True, False])
def test_torchs_files_under_the_name_of_safetensors(zipped, tmp_path):
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    for read in (read_tensors, header_shapes, load_prior):
        refused(path, "is a file of torch.save, .* Rename it: diffusion_pytorch_model.bin", read=read)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_to_be_copied_again(zipped, share, tmp_path):
    torch.save({"a": torch.ones(5000)}, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "m.pt").read_bytes()
    (tmp_path / "m.pt").write_bytes(data[: int(share * len(data))])
    refused(tmp_path / "m.pt", "its end is missing, after [0-9,]+ bytes. Copy or download it again", read=read_content)


@pytest.mark.parametrize("name", ["card.json", "config.json"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS, .* git lfs pull"),
        ("<!DOCTYPE html><html>Sign in</html>", "is a web page"),
        ("", "is empty. Copy"),
    ],
)
def test_what_a_download_puts_in_place_of_a_description(name, text, says, own):
    (own / name).write_text(text)
    refused(own / name, f"{name} {says}", read=lambda _: load_prior(own))
