"""loading.transforms: one warp does what flip, rotation, zoom and resize do one after the other."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from medtrain.config.schema import AugmentConfig
from medtrain.imaging.decode import decode
from medtrain.loading.transforms import augment, fit, linear_maps, shifts, warp

ALL = AugmentConfig(rotate_deg=15, rotate_p=0.5, flip_p=0.3, zoom_min=0.8, zoom_max=1.2, zoom_p=0.25)
Image = NDArray[np.uint8]
SAMPLES = np.arange(40_000)


@pytest.fixture(scope="module")
def image() -> Image:
    """A smooth 96 x 96 texture: neighbours differ little, so rounding of positions shows as little."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload,no-any-return]


def warped(image: Image, linear: NDArray[np.float64], size: tuple[int, int]) -> Image:
    out = np.zeros(size, np.uint8)
    warp([image], linear[None], out[None])
    return out


def decompose(maps: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Angle in degrees, whether flipped, zoom."""
    determinant = np.linalg.det(maps)
    zoom = 1 / np.sqrt(np.abs(determinant))
    return np.rad2deg(np.arctan2(-maps[:, 0, 1], maps[:, 1, 1])), determinant < 0, zoom


def test_maps_keep_to_their_ranges_and_probabilities() -> None:
    angle, flipped, zoom = decompose(linear_maps(ALL, 0, 0, SAMPLES))
    turned, zoomed = np.abs(angle) > 1e-9, np.abs(zoom - 1) > 1e-9
    assert abs(turned.mean() - 0.5) < 0.01
    assert abs(flipped.mean() - 0.3) < 0.01
    assert abs(zoomed.mean() - 0.25) < 0.01
    assert 14.9 < np.abs(angle).max() <= 15
    assert abs(angle[turned].mean()) < 0.3 and abs(angle[turned].std() - 15 / np.sqrt(3)) < 0.1
    assert 0.8 <= zoom.min() < 0.801 and 1.199 < zoom.max() <= 1.2
    assert abs(zoom[zoomed].mean() - 1) < 0.01
    assert np.abs(np.corrcoef([turned, flipped, zoomed]) - np.eye(3)).max() < 0.02


def test_maps_depend_on_seed_epoch_and_sample_alone() -> None:
    whole = linear_maps(ALL, 1, 2, np.arange(64))
    assert np.array_equal(linear_maps(ALL, 1, 2, np.array([40, 3])), whole[[40, 3]])
    assert not np.array_equal(linear_maps(ALL, 1, 3, np.arange(64)), whole)
    assert not np.array_equal(linear_maps(ALL, 2, 2, np.arange(64)), whole)


def test_golden_maps() -> None:
    """Pixels of a resumed run must not change; never change these numbers."""
    config = AugmentConfig(rotate_deg=15, rotate_p=0.5, flip_p=0.5, zoom_min=0.9, zoom_max=1.1, zoom_p=0.5)
    expected = [
        [[-0.9983959708, -0.0566170078], [-0.0566170078, 0.9983959708]],
        [[1.0, 0.0], [0.0, 1.0]],
        [[-0.9946063497, 0.1037217869], [0.1037217869, 0.9946063497]],
    ]
    assert np.allclose(linear_maps(config, 42, 0, np.arange(3)), expected, atol=1e-10)


def test_nothing_asked_is_the_identity(image: Image) -> None:
    maps = linear_maps(AugmentConfig(), 0, 0, np.arange(100))
    assert np.array_equal(maps, np.broadcast_to(np.eye(2), (100, 2, 2)))
    assert np.array_equal(warped(image, maps[0], image.shape), image)


def test_a_flip_is_exact(image: Image) -> None:
    flip = linear_maps(AugmentConfig(flip_p=1.0), 0, 0, np.arange(1))[0]
    assert np.array_equal(warped(image, flip, image.shape), image[:, ::-1])


@pytest.mark.parametrize(("angle", "zoom", "flip"), [(15, 1, 1), (-7, 1.1, 1), (0, 0.9, 1), (12, 0.9, -1), (90, 1, 1)])
@pytest.mark.parametrize("size", [(96, 96), (64, 80)])
def test_warp_is_opencvs_rotation_about_the_centre(
    image: Image, angle: float, zoom: float, flip: int, size: tuple[int, int]
) -> None:
    """Against the matrix of cv2.getRotationMatrix2D (input -> output, counter-clockwise), flipped after it."""
    picture = np.ascontiguousarray(image[: size[0], : size[1]])
    height, width = size
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, zoom)
    expected = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    expected = expected[:, ::-1] if flip < 0 else expected
    cos, sin = np.cos(np.deg2rad(angle)) / zoom, np.sin(np.deg2rad(angle)) / zoom
    linear = np.array([[cos * flip, -sin], [sin * flip, cos]])
    actual = warped(picture, linear, size).astype(int)
    assert np.abs(actual - expected).max() <= 2


@pytest.mark.parametrize("source", [(96, 96), (90, 70), (60, 96), (128, 128)])
def test_the_short_way_of_an_unturned_image_gives_what_the_warp_gives(image: Image, source: tuple[int, int]) -> None:
    """And `fit`, which evaluation uses, gives what training sees."""
    picture = np.asarray(cv2.resize(image, source[::-1]), np.uint8)
    for flip in (-1.0, 1.0):
        almost = np.array([[flip, 0], [1e-12, 1]])
        exact = np.array([[flip, 0], [0, 1]])
        short, long = (warped(picture, linear, (64, 64)).astype(int) for linear in (exact, almost))
        assert np.abs(short - long).max() <= 2
    fitted = np.zeros((64, 64), np.uint8)
    fit([picture], fitted[None])
    assert np.array_equal(fitted, warped(picture, np.eye(2), (64, 64)))


@pytest.mark.parametrize("source", [(96, 96), (90, 70), (60, 96), (300, 200)])
def test_one_warp_is_close_to_resizing_and_then_turning(image: Image, source: tuple[int, int]) -> None:
    picture = np.asarray(cv2.resize(image, source[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    resized = np.zeros((64, 64), np.uint8)
    fit([picture], resized[None])
    linear = linear_maps(
        AugmentConfig(rotate_deg=15, rotate_p=1, zoom_min=1.1, zoom_max=1.1, zoom_p=1), 0, 0, np.arange(1)
    )
    two_steps = warped(resized, linear[0], (64, 64)).astype(int)
    one_step = warped(picture, linear[0], (64, 64)).astype(int)
    assert np.abs(one_step - two_steps).mean() < 1.5
    assert np.abs(one_step - two_steps).max() < 16


def test_beyond_the_border_the_edge_is_repeated() -> None:
    linear = linear_maps(AugmentConfig(zoom_min=0.5, zoom_max=0.5, zoom_p=1), 0, 0, np.arange(1))[0]
    flat = warped(np.full((64, 64), 200, np.uint8), linear, (64, 64))
    assert flat.min() == flat.max() == 200


def test_a_large_image_is_shrunk_by_areas() -> None:
    """A one-pixel chequerboard is even grey; a bilinear warp alone would hit single squares."""
    board = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    linear = linear_maps(AugmentConfig(rotate_deg=10, rotate_p=1), 0, 0, np.arange(1))[0]
    for out in (warped(board, linear, (64, 64)), warped(board, np.eye(2), (64, 64))):
        assert np.abs(out.astype(int) - 127).max() <= 2


def test_a_jpeg_decoded_at_half_its_size_looks_like_a_full_decode() -> None:
    """512 px, quality 95, to 224 px: within 40 dB of a full decode shrunk by areas, for fit and for warp."""
    noise = np.random.default_rng(0).normal(0, 1, (512, 512)).astype(np.float32)
    texture = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.5, 8, 40))
    pixels = np.clip(128 + 25 * texture, 0, 255).astype(np.uint8)
    jpeg = simplejpeg.encode_jpeg(pixels[:, :, None], quality=95, colorspace="GRAY")
    expected = cv2.resize(decode(jpeg), (224, 224), interpolation=cv2.INTER_AREA).astype(float)
    fitted, turned = np.zeros((224, 224), np.uint8), np.zeros((224, 224), np.uint8)
    assert decode(jpeg, at_least=224).shape == (256, 256)
    fit([decode(jpeg, at_least=224)], fitted[None])
    warp([decode(jpeg, at_least=224)], np.eye(2)[None], turned[None])
    for actual in (fitted, turned):
        assert 10 * np.log10(255**2 / ((actual - expected) ** 2).mean()) > 40


def test_fit_grows_and_shrinks(image: Image) -> None:
    for size in ((96, 96), (40, 60), (200, 150), (50, 150)):
        out = np.zeros(size, np.uint8)
        fit([image], out[None])
        assert abs(out.mean() - image.mean()) < 4
    same = np.zeros_like(image)
    fit([image], same[None])
    assert np.array_equal(same, image)


def changed(config: AugmentConfig, image: Image, samples: int = 40, epoch: int = 0) -> np.ndarray:
    out = np.zeros((samples, *image.shape), np.uint8)
    augment(config, 7, epoch, np.arange(samples), [image] * samples, out)
    return out


def test_augment_is_the_warp_where_no_more_is_asked(image: Image) -> None:
    config = AugmentConfig(rotate_deg=15, flip_p=0.5, zoom_min=0.9, zoom_max=1.1)
    expected = np.zeros((40, *image.shape), np.uint8)
    warp([image] * 40, linear_maps(config, 7, 0, np.arange(40)), expected)
    assert np.array_equal(changed(config, image), expected)


def test_new_changes_leave_the_draws_of_the_others_alone(image: Image) -> None:
    config = AugmentConfig(rotate_deg=15, flip_p=0.5)
    more = dataclasses.replace(config, coarse_dropout=2, coarse_dropout_p=1)
    plain, erased = changed(config, image), changed(more, image)
    kept = erased > 0
    assert np.array_equal(erased[kept], plain[kept])
    assert 0 < (~kept).mean() < 0.1


def test_a_shift_moves_the_picture(image: Image) -> None:
    config = AugmentConfig(shift=0.25, shift_p=1)
    moved = shifts(config, 7, 0, np.arange(40)) * (image.shape[1], image.shape[0])
    assert (np.abs(moved) <= 0.25 * max(image.shape)).all()
    assert np.ptp(moved, axis=0).min() > 10
    for (x, y), out in zip(moved, changed(config, image), strict=True):
        matrix = np.array([[1, 0, x], [0, 1, y]])
        expected = cv2.warpAffine(image, matrix, image.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        assert np.abs(out.astype(int) - expected).max() <= 2


def test_a_shift_has_its_probability(image: Image) -> None:
    moved = shifts(AugmentConfig(shift=0.1, shift_p=0.3), 7, 0, np.arange(10_000))
    assert 0.28 < (moved != 0).any(1).mean() < 0.32


def test_light(image: Image) -> None:
    for sample, out in enumerate(changed(AugmentConfig(brightness=0.2, brightness_contrast_p=1), image)):
        middle = (image > 60) & (image < 190)
        steps = out[middle].astype(int) - image[middle]
        assert np.ptp(steps) <= 1, sample
        assert abs(steps).max() <= 52
    flat = np.full((16, 16), 228, np.uint8)
    narrower = changed(AugmentConfig(contrast=0.5, brightness_contrast_p=1), flat).astype(float) - 127.5
    assert 0.5 * 100.5 - 1 <= narrower.min() < 100.5 < narrower.max()
    assert np.array_equal(changed(AugmentConfig(brightness=0.2, brightness_contrast_p=0), image)[0], image)


def test_rectangles_are_black_and_not_too_large() -> None:
    white = np.full((64, 64), 255, np.uint8)
    one = changed(AugmentConfig(coarse_dropout=1, coarse_dropout_side=0.25, coarse_dropout_p=1), white)
    for out in one:
        rows, columns = np.nonzero(out == 0)
        assert 1 <= np.ptp(rows) + 1 <= 16
        assert 1 <= np.ptp(columns) + 1 <= 16
        assert (out[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] == 0).all()
    assert len({out.tobytes() for out in one}) > 30
    half = changed(AugmentConfig(coarse_dropout=4, coarse_dropout_p=0.5), white, samples=400)
    assert 0.4 < (half == 255).all((1, 2)).mean() < 0.6


def test_an_epoch_draws_anew_and_a_sample_always_alike(image: Image) -> None:
    config = AugmentConfig(shift=0.1, brightness=0.1, contrast=0.1, coarse_dropout=3)
    again = np.zeros((1, *image.shape), np.uint8)
    augment(config, 7, 0, np.array([17]), [image], again)
    assert np.array_equal(again[0], changed(config, image)[17]), "whatever its company"
    assert not np.array_equal(changed(config, image, epoch=1), changed(config, image))


def test_each_channel_of_a_color_image_is_changed_as_a_gray_image_is() -> None:
    config = dataclasses.replace(ALL, shift=0.1, brightness=0.2, contrast=0.2, coarse_dropout=3, rotate_p=0.8)
    rng, samples = np.random.default_rng(1), np.arange(24)
    images = [
        cv2.GaussianBlur(rng.integers(0, 256, (*sides, 3), np.uint8), (0, 0), 2)
        for sides in [(64, 64), (80, 96), (150, 140), (64, 90)] * 6
    ]
    together, apart = np.empty((24, 64, 64, 3), np.uint8), np.empty((3, 24, 64, 64), np.uint8)
    augment(config, 7, 1, samples, images, together)
    for channel in range(3):
        augment(config, 7, 1, samples, [np.ascontiguousarray(image[..., channel]) for image in images], apart[channel])
    np.testing.assert_array_equal(together, apart.transpose(1, 2, 3, 0))
    fit(images, together)
    for channel in range(3):
        fit([np.ascontiguousarray(image[..., channel]) for image in images], apart[channel])
    np.testing.assert_array_equal(together, apart.transpose(1, 2, 3, 0))
