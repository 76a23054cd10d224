"""Training on a task: it learns, it stops when it has learnt, and a killed training goes on to the same bits."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from dnamamba.errors import InputError
from dnamamba.model import ModelConfig
from dnamamba.tasks.captured import WARM_UP, CapturedStep
from dnamamba.tasks.induction_heads import INDUCTION_HEADS
from dnamamba.tasks.training import FAR_SAMPLES, FAR_SURE, TaskTraining

CPU = torch.device("cpu")
SMALL = ModelConfig(d_model=32, n_layers=2)
SETTINGS = replace(
    INDUCTION_HEADS.settings, length=8, batch=32, steps=12, lr=3e-3, check_every=4, check_samples=64, stop_loss=0.1,
    stop_checks=2, stop_length=16,
)  # fmt: skip


def test_learns_and_stops_when_it_has_learnt(tmp_path):
    looks = []
    training = TaskTraining(INDUCTION_HEADS, replace(SETTINGS, steps=2000, check_every=50), SMALL, CPU)
    training.run(tmp_path, looks.append)
    assert training.is_solved
    assert looks[-1].step < 2000
    assert looks[0].accuracy < 0.5
    assert [look.accuracy for look in looks[-2:]] == [1.0, 1.0]
    assert looks[-3].accuracy < 1 or looks[-3].check_loss >= 0.1 or looks[-3].far < 1  # no look too late
    assert [look.far for look in looks[-2:]] == [1.0, 1.0]
    assert all(look.far is None for look in looks if look.accuracy < 1)
    assert all(later.seconds > earlier.seconds for earlier, later in pairwise(looks))


def test_the_stop_length_is_looked_at_where_a_sixteenth_of_it_is_solved(monkeypatch):
    looked, solved, sure = [], set(), True

    def right(task, model, seed, samples, length, autocast):
        looked.append((length, samples))
        right = torch.full((samples, 1), length in solved)
        right[FAR_SAMPLES:] = sure
        return right

    monkeypatch.setattr("dnamamba.tasks.training.right_answers", right)
    training = TaskTraining(INDUCTION_HEADS, replace(SETTINGS, stop_length=1024), SMALL, CPU)
    short, far, more = (64, FAR_SAMPLES), (1024, FAR_SAMPLES), (1024, FAR_SURE)
    for newly, looks, found in (([], [short], None), ([64], [short, far], 0.0), ([1024], [short, far, more], 1.0)):
        looked.clear()
        solved.update(newly)
        assert training._far(0.05, 1.0, 1.0) == found
        assert looked == looks
    sure = False  # one that is right in as many samples as a look takes, and not in more, is not sure
    assert training._far(0.05, 1.0, 1.0) == FAR_SAMPLES / FAR_SURE
    looked.clear()
    assert training._far(0.05, 0.99, 0.99) is None  # the trained length is not solved
    assert training._far(0.2, 1.0, 1.0) is None
    assert not looked


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    unbroken = TaskTraining(INDUCTION_HEADS, SETTINGS, SMALL, CPU)
    unbroken.run(tmp_path / "unbroken", lambda look: None)
    monkeypatch.setattr("dnamamba.tasks.training.CHECKPOINT_SECONDS", 0.0)

    def killed(look):
        if look.step == 8:  # what came after the checkpoint of step 4 is lost
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TaskTraining(INDUCTION_HEADS, SETTINGS, SMALL, CPU).run(tmp_path / "killed", killed)
    resumed, steps = TaskTraining(INDUCTION_HEADS, SETTINGS, SMALL, CPU), []
    resumed.run(tmp_path / "killed", lambda look: steps.append(look.step))
    assert steps == [8, 12]
    for ours, theirs in zip(resumed.model.parameters(), unbroken.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    values = [[(look.step, look.loss, look.check_loss) for look in one.looks] for one in (resumed, unbroken)]
    assert values[0] == values[1]
    over = TaskTraining(INDUCTION_HEADS, SETTINGS, SMALL, CPU)
    over.run(tmp_path / "killed", lambda look: pytest.fail("nothing is left to train"))
    assert all(torch.equal(*pair) for pair in zip(over.model.parameters(), resumed.model.parameters(), strict=True))


def test_the_model_of_the_best_look_is_kept_over_a_resume_too(tmp_path, monkeypatch):
    """Accuracy at the stop length decides, then that at the trained one, then the loss."""
    monkeypatch.setattr("dnamamba.tasks.training.CHECKPOINT_SECONDS", 0.0)
    weights = {}

    def training(found):
        one = TaskTraining(INDUCTION_HEADS, SETTINGS, SMALL, CPU)
        looks = iter(found)
        monkeypatch.setattr(one, "_check", lambda: (next(looks), 1.0, 1.0))
        monkeypatch.setattr(one, "_far", lambda loss, accuracy, whole: {0.3: 0.5, 0.2: 0.75, 0.1: 0.75}.get(loss))
        return one

    def look(one, last=99):
        def looked(look):
            weights[look.step] = {name: tensor.clone() for name, tensor in one.model.state_dict().items()}
            if look.step == last:
                raise KeyboardInterrupt

        return looked

    for name, found, best in (("a", (0.3, 0.2, 0.0), 8), ("b", (0.3, 0.2, 0.1), 12), ("c", (0.2, 0.2, 0.3), 4)):
        one = training(found)
        one.run(tmp_path / name, look(one))
        assert one.best.step == best
        assert all(torch.equal(tensor, weights[best][key]) for key, tensor in one.model.state_dict().items()), name
    killed = training((0.2, 0.2))
    with pytest.raises(KeyboardInterrupt):
        killed.run(tmp_path / "d", look(killed, last=8))
    resumed = training((0.3, 0.3))
    resumed.run(tmp_path / "d", lambda look: None)
    assert resumed.best.step == 4
    assert all(torch.equal(tensor, weights[4][key]) for key, tensor in resumed.model.state_dict().items())


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    training = TaskTraining(INDUCTION_HEADS, SETTINGS, SMALL, CPU)
    with torch.no_grad():
        training.model.backbone.norm_f.weight[0] = torch.nan
    with pytest.raises(InputError, match="induction-heads: the loss is no number after step 4; try a lower --lr"):
        training.run(tmp_path, lambda look: None)


def test_a_step_is_called_once_a_call(device):
    """On a GPU the calls past the first replay a recording, and the sum shows each of them."""
    total = torch.zeros((), device=device)
    step = CapturedStep(lambda: total.add_(1), lambda: None, torch.device(device))
    for _ in range(WARM_UP + 4):
        step()
    assert total.item() == WARM_UP + 4
    assert step.is_captured == (device == "cuda")


def test_a_checkpoint_of_a_model_of_another_width_is_refused(tmp_path):
    TaskTraining(INDUCTION_HEADS, replace(SETTINGS, steps=1), SMALL, CPU).run(tmp_path, lambda look: None)
    wider = TaskTraining(INDUCTION_HEADS, replace(SETTINGS, steps=2), replace(SMALL, d_model=34), CPU)
    with pytest.raises(InputError, match="is of a model of another shape; choose another --out"):
        wider.run(tmp_path, lambda look: None)
