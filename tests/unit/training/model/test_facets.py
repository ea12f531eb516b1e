import math

import torch

from training.model.facets import PeriodicNumbers, SetEmbedding


def test_a_set_is_the_mean_of_its_members_rows() -> None:
    embedding = SetEmbedding(4, 3)
    rows = embedding.rows.weight

    found = embedding(torch.tensor([[2, 3, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.int32))

    torch.testing.assert_close(found[0], (rows[2] + rows[3]) / 2)
    torch.testing.assert_close(found[1], rows[1])
    assert not found[2].any()


def test_the_order_of_members_changes_nothing() -> None:
    embedding = SetEmbedding(5, 3)
    codes = torch.tensor([[1, 4, 2, 0]])

    torch.testing.assert_close(embedding(codes), embedding(codes.flip(1)))


def test_waves_are_their_formula_written_out() -> None:
    waves = PeriodicNumbers(2, 3)
    torch.nn.init.normal_(waves.bias_ND)
    found = waves(torch.tensor([[1.0, 0.7, 1.0, -2.0]]))

    want = []
    for number, value in enumerate((0.7, -2.0)):
        angle = 2 * math.pi * waves.frequency_NK[number] * value
        wave = torch.cat([angle.sin(), angle.cos()])
        want.append(torch.relu(wave @ waves.layer_NKD[number] + waves.bias_ND[number]))
    torch.testing.assert_close(found[0], torch.cat(want))


def test_a_number_that_is_not_known_gives_zeros() -> None:
    waves = PeriodicNumbers(2, 3)
    torch.nn.init.ones_(waves.bias_ND)

    found = waves(torch.tensor([[0.0, 0.0, 1.0, 0.0]]))

    assert not found[0, :3].any()
    assert found[0, 3:].any()
