"""Augmentation and mixup: what is changed, what stays."""

import torch
from test_loop import bars

from fer_lib.models.forward import standardize
from fer_lib.params import Augmentation
from fer_lib.training.augment import augment, draw_numbers, mixup


def test_mixup_blends_faces_and_labels_alike():
    # A face that is all the number of its label: what is mixed can be read off.
    labels = torch.arange(50)
    faces = labels.float()[:, None, None, None].expand(50, 1, 2, 2)
    torch.manual_seed(0)
    mixed, partners, share = mixup(faces, labels, 0.4)
    assert 0.5 <= share < 1
    assert sorted(partners.tolist()) == labels.tolist()
    torch.testing.assert_close(mixed[:, 0, 0, 0], share * labels + (1 - share) * partners)


def test_no_mixup_draws_no_numbers():
    before = torch.get_rng_state()
    faces, labels = torch.zeros(3, 1, 2, 2), torch.arange(3)
    mixed, partners, share = mixup(faces, labels, 0.0)
    assert mixed is faces and partners is labels and share == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_standardise():
    images, _ = bars(8)
    x = standardize(images)
    torch.testing.assert_close(x.mean(dim=(1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(dim=(1, 2, 3), correction=0), torch.ones(8))
    torch.testing.assert_close(standardize(images // 2 + 20), x, atol=0.05, rtol=0)
    assert not standardize(torch.full((1, 48, 48), 7, dtype=torch.uint8)).any()


def test_augmentation_off_is_identity_and_flip_is_a_mirror():
    images, _ = bars(8)
    images[:, :, :5] = 255  # left and right differ
    numbers = draw_numbers(8, torch.Generator().manual_seed(0))
    nothing = {"rotate": 0.0, "shift": 0.0, "scale": 0.0, "gamma": 0.0, "erase": 0.0}
    still = augment(images, Augmentation(flip=0.0, **nothing), numbers)
    torch.testing.assert_close(still, images.float(), atol=0.01, rtol=0)
    mirrored = augment(images, Augmentation(flip=1.0, **nothing), numbers)
    torch.testing.assert_close(mirrored, images.float().flip(2), atol=0.01, rtol=0)


def test_moved_faces_keep_most_of_their_fine_detail():
    """Of noise, which is detail alone, linear interpolation would keep less than half."""
    noise = torch.randint(0, 255, (200, 48, 48), dtype=torch.uint8)
    numbers = draw_numbers(200, torch.Generator().manual_seed(0))
    limits = Augmentation(flip=0.0, gamma=0.0, erase=0.0, scale=0.0)
    inside = augment(noise, limits, numbers)[:, 12:36, 12:36]
    assert float(inside.var() / noise.float().var()) > 0.6


def test_augmentation_changes_each_face_differently():
    image = bars(1)[0].repeat(6, 1, 1)
    numbers = draw_numbers(6, torch.Generator().manual_seed(0))
    changed = augment(image, Augmentation(), numbers)
    assert all((changed[0] - other).abs().mean() > 1 for other in changed[1:])
    assert changed.min() >= 0
    assert changed.max() <= 255
