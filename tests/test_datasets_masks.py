"""What ground-truth pictures mean: labels are labels, blended edges are edges, soft maps are what their source says."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from training_data import davis, encode, pair, shard
from vsalient.datasets.masks import decode_soft, decode_truth
from vsalient.datasets.spec import parse_spec
from vsalient.errors import DataError, DecodeError, OptionError
from vsalient.training.sources import open_pairs


def boxes(*labels: int, dtype: type = np.uint8) -> np.ndarray:
    """One box a label, side by side on 0, 6 rows high, the first one next to the second."""
    out = np.zeros((20, 12 * len(labels) + 4), dtype)
    for i, label in enumerate(labels):
        out[5:11, 12 * i + 2 : 12 * i + 14 - 4 * (i > 0)] = label
    return out


def save(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def palette(array: np.ndarray) -> bytes:
    image = Image.fromarray(array, "P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 756 + [224, 224, 192])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "labels",
    [(1,), (85,), (128,), (255,), (1, 2), (85, 255), (85, 170, 255), (127, 254), (100, 200), (1, 2, 255), (3, 7, 60)],
)
@pytest.mark.parametrize("kind", ["PNG", "PPM", "BMP", "TIFF"])
def test_every_gray_label_is_an_object(labels, kind):
    array = boxes(*labels)
    truth = decode_truth(save(array, kind), "t")
    assert np.array_equal(truth.mask, array > 0)
    assert truth.void is None


def test_sixteen_bit_labels_and_masks():
    for array in (boxes(1, 2, dtype=np.uint16), boxes(65535, dtype=np.uint16), boxes(255, 300, dtype=np.uint16)):
        data = cv2.imencode(".png", array)[1].tobytes()
        assert np.array_equal(decode_truth(data, "t").mask, array > 0)


def test_thin_dim_labels_are_kept():
    array = boxes(255, 255)
    array[15:17, 3:20] = 40  # two pixels high
    assert np.array_equal(decode_truth(save(array), "t").mask, array > 0)


def test_palette_labels_with_void():
    array = boxes(1, 2, 255)
    truth = decode_truth(palette(array), "t")
    assert np.array_equal(truth.mask, (array > 0) & (array < 255))
    assert np.array_equal(truth.void, array == 255)


@pytest.mark.parametrize("factor", [0.5, 2, 3, 4])
def test_blended_edges_are_cut_at_the_middle(factor):
    y, x = np.mgrid[:120, :160]
    for mask in ((y - 60) ** 2 + (x - 80) ** 2 < 900, (abs(y - 50) < 20) & (abs(x - 60) < 31)):
        plain = mask.astype(np.uint8) * np.uint8(255)
        for method in (cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC):
            soft = cv2.resize(plain, None, fx=factor, fy=factor, interpolation=method)
            assert np.array_equal(decode_truth(save(soft), "t").mask, soft > 128)
    blurred = cv2.GaussianBlur(plain, (0, 0), 1.2)
    assert np.array_equal(decode_truth(save(blurred), "t").mask, blurred > 128)


def test_jpeg_noise_is_no_label():
    mask = boxes(255, 255)
    truth = decode_truth(save(mask, "JPEG", quality=60), "t")
    assert (truth.mask != (mask > 0)).mean() < 0.02


def test_colour_labels_on_black_and_on_white():
    for ground in (0, 255):
        array = np.full((20, 30, 3), ground, np.uint8)
        array[4:9, 5:15] = (0, 255, 255)
        array[12:16, 5:15] = (200, 0, 0)
        truth = decode_truth(save(array, "PPM"), "t")
        assert np.array_equal(truth.mask, (array != ground).any(axis=2))
    array[0, 0] = 0
    with pytest.raises(DataError, match="neither black nor white alone"):
        decode_truth(save(array, "PPM"), "t.ppm")
    assert decode_truth(save(array, "PPM"), "t", background="white").mask[0, 0]


def test_gray_labels_on_white_where_the_format_says_so():
    array = np.full((20, 30), 255, np.uint8)
    array[3:8, 4:9] = 0
    array[3:8, 15:20] = 85
    assert np.array_equal(decode_truth(save(array), "t", background="white").mask, array < 255)


def test_a_dim_soft_map_is_never_labels():
    ramp = np.tile(np.linspace(0, 90, 64).astype(np.uint8), (30, 1))
    with pytest.raises(DataError, match="neither labels nor a mask"):
        decode_truth(save(ramp), "t.png")
    assert np.array_equal(decode_soft(save(ramp), "t"), ramp)
    deep = (ramp.astype(np.uint16) * 257).astype(np.uint16)
    assert np.array_equal(decode_soft(cv2.imencode(".png", deep)[1].tobytes(), "t"), ramp)
    with pytest.raises(DataError, match="palette labels"):
        decode_soft(palette(boxes(1, 2)), "t")
    with pytest.raises(DecodeError):
        decode_truth(b"nothing", "t")


def test_softness_is_declared_by_the_source(tmp_path):
    import tarfile

    ramp = np.tile(np.linspace(0, 77, 64).astype(np.uint8), (48, 1))
    plain = shard(tmp_path / "a.tar", stills=1, videos=0)
    both = tmp_path / "b.tar"
    with tarfile.open(both, "w") as tar:
        for name, data in (
            ("one.webp", encode(pair(0)[0], "WEBP")),
            ("one.soft.png", encode(ramp, "PNG")),
            ("two.webp", encode(pair(0)[0], "WEBP")),
            ("two.png", encode(pair(0)[1], "PNG")),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    source = open_pairs(both)
    assert [source.is_soft(i, 0) for i in range(2)] == [True, False]
    assert np.array_equal(source.read(0, 0)[1], ramp)
    assert set(np.unique(source.read(1, 0)[1])) == {0, 255}
    assert not open_pairs(plain).is_soft(0, 0)

    root = davis(tmp_path / "DAVIS", videos=1)
    (root / "Annotations/480p/seq0/00001.png").write_bytes(encode(ramp, "PNG"))
    with pytest.raises(DataError, match=r"seq0 #1.*declare its source soft"):
        open_pairs(root)
    soft = open_pairs(parse_spec(f"soft:{root}=2"))
    assert soft.weight == 2
    assert soft.is_soft(0, 1)
    assert np.array_equal(soft.read(0, 1)[1], ramp)
    assert np.array_equal(soft.select(keep=["seq0"]).read(0, 1)[1], ramp)


@pytest.mark.parametrize("levels", [17, 32, 64, 256])
@pytest.mark.parametrize("top", [90, 255])
def test_masks_that_look_soft_are_refused_before_work_starts(tmp_path, levels, top):
    root = davis(tmp_path / "DAVIS", videos=1)
    ramp = np.linspace(0, levels - 0.01, 64).astype(int) * top // (levels - 1)
    ramp = cv2.resize(np.tile(ramp.astype(np.uint8), (48, 1)), (640, 480), interpolation=cv2.INTER_NEAREST)
    (root / "Annotations/480p/seq0/00000.png").write_bytes(encode(ramp, "PNG"))
    with pytest.raises(DataError, match=r"seq0 #0 has .* gray values.*declare its source soft"):
        open_pairs(root)
    (root / "JPEGImages/480p/seq0/00000.jpg").write_bytes(encode(np.zeros((480, 640, 3), np.uint8), "JPEG"))
    assert np.array_equal(open_pairs(parse_spec(f"soft:{root}")).read(0, 0)[1], ramp)


def test_masks_of_wide_blurs_are_told_once(tmp_path, caplog):
    root = davis(tmp_path / "DAVIS", videos=1, frames=1)
    blurred = cv2.GaussianBlur(pair(0)[1], (0, 0), 4)
    (root / "Annotations/480p/seq0/00000.png").write_bytes(encode(blurred, "PNG"))
    assert open_pairs(root).frames == 1
    assert caplog.text.count("write soft:") == 1
    open_pairs(parse_spec(f"soft:{root}"))
    assert caplog.text.count("write soft:") == 1


@pytest.mark.parametrize("text", ["a=x", "a=0", "a=-1", "a=nan", "a=inf", "", "soft:", "=3"])
def test_specs_that_say_nothing_are_refused(text):
    with pytest.raises(OptionError, match=r"write|weight"):
        parse_spec(text)


def test_specs(tmp_path):
    assert parse_spec("a/b=1.5").weight == 1.5
    assert parse_spec("soft:a").soft
    odd = tmp_path / "x=2"
    odd.mkdir()
    assert parse_spec(str(odd)).path == odd


def test_jpeg_noise_in_a_png_is_no_label():
    mask = np.zeros((64, 96), np.uint8)
    mask[20:44, 30:62] = 255
    noisy = np.asarray(Image.open(io.BytesIO(save(mask, "JPEG", quality=92))))
    assert len(np.unique(noisy)) > 4
    assert np.array_equal(decode_truth(save(noisy), "t").mask, noisy > 128)


def crafted() -> dict[str, bytes]:
    """Pictures of every kind, cut, flipped, blanked and with headers that promise too much."""
    import struct
    import zlib

    rng = np.random.default_rng(1)
    mask = boxes(255, 255)
    kinds = {"PNG": {}, "JPEG": {}, "PPM": {}, "BMP": {}, "WEBP": {"lossless": True}, "GIF": {}, "TIFF": {}}
    files: dict[str, bytes] = {"empty": b"", "text": b"hello", "zeros": bytes(200)}
    for kind, options in kinds.items():
        whole = save(mask, kind, **options)
        files[f"{kind} cut"] = whole[: len(whole) // 2]
        files[f"{kind} head"] = whole[:12]
        files[f"{kind} zeroed"] = whole[:30] + bytes(len(whole) - 30)
        for number in range(6):
            data = bytearray(whole)
            for at in rng.integers(4, len(data), 4):
                data[at] ^= int(rng.integers(1, 256))
            files[f"{kind} flipped {number}"] = bytes(data)
    for width, height in ((2**31 - 1, 2**31 - 1), (60_000, 60_000), (0, 0), (1, 2**30)):
        head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        chunks = b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
        )
        files[f"PNG {width}x{height}"] = b"\x89PNG\r\n\x1a\n" + chunks
        files[f"PGM {width}x{height}"] = f"P5 {width} {height} 255\n".encode() + bytes(64)
        files[f"PPM {width}x{height}"] = f"P6 {width} {height} 65535\n".encode() + bytes(64)
        files[f"BMP {width}x{height}"] = b"BM" + struct.pack(
            "<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, width, min(height, 2**31 - 1), 1, 24, 0, 0, 0, 0, 0, 0
        )
    files["PGM negative"] = b"P5 -3 4 255\n" + bytes(64)
    files["PGM digits"] = b"P5 " + b"9" * 5000 + b" 4 255\n"
    files["EXR"] = b"\x76\x2f\x31\x01" + bytes(100)
    files["HDR"] = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 99999999 +X 99999999\n"
    files["JP2"] = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(60)
    return files


def test_crafted_pictures_end_in_one_line_and_no_noise(capfd):
    refused = 0
    for name, data in crafted().items():
        try:
            decode_truth(data, name)
        except (DataError, DecodeError) as error:
            refused += 1
            assert "\n" not in str(error) and name in str(error)
    assert refused > 60
    out = capfd.readouterr()
    assert out.out == "" and [line for line in out.err.splitlines() if "TIFF" not in line] == []
