"""Files of weights, changed at random: adapters, and the state of a run."""

import json
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import examples
from limits import few_and_many
from limits import read_or_refused
from mutations import changed_bytes
from mutations import changed_json
from mutations import changed_tail

from mlora_tf import adapter_file
from mlora_tf import state_file
from mlora_tf.callbacks import EarlyStopping
from mlora_tf.callbacks import TrainingError
from mlora_tf.training_state import TrainingState


def stored(members):
    """A zip archive of members that are stored as they are."""

    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                member = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
                archive.writestr(member, content)

    return write


def contents(path):
    """The members of a zip archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed_member(members):
    """Draws one member, and other bytes for it."""
    return st.sampled_from(sorted(members)).flatmap(
        lambda name: st.tuples(st.just(name), changed_bytes(members[name]))
    )


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """A file of adapters."""
    path = tmp_path_factory.mktemp("good") / "adapters.npz"
    rng = np.random.default_rng(0)
    adapter_file.write(
        adapter_file.Adapters(
            domains=("fr", "it"),
            weights={
                "hidden.0/lora_a": rng.normal(size=(2, 3, 1)),
                "hidden.0/lora_b": rng.normal(size=(2, 1, 4)),
            },
            dtypes=dict.fromkeys(
                ("hidden.0/lora_a", "hidden.0/lora_b"), "float32"
            ),
            backbone="0" * 64,
        ),
        path,
    )
    return path


@few_and_many(15, 600)
def test_the_bytes_of_adapters(count, adapters, tmp_path):
    content, path = adapters.read_bytes(), tmp_path / "adapters.npz"

    @examples(count)
    @given(st.one_of(changed_bytes(content), changed_tail(content, 300)))
    def check(data):
        path.write_bytes(data)
        with read_or_refused(path, ValueError):
            adapter_file.read(path)

    check()


@few_and_many(15, 800)
def test_the_members_of_adapters(count, adapters, tmp_path):
    members, path = contents(adapters), tmp_path / "adapters.npz"
    header = json.loads(members[adapter_file.HEADER])

    @examples(count)
    @given(
        st.one_of(
            changed_member(members),
            st.tuples(st.just(adapter_file.HEADER), changed_json(header)),
        )
    )
    def check(drawn):
        stored({**members, drawn[0]: drawn[1]})(path)
        with read_or_refused(path, ValueError):
            read = adapter_file.read(path)
            assert sum(one.size for one in read.weights.values()) < 100

    check()


def small_model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def state_of(path):
    return TrainingState(
        path, EarlyStopping("val_wauc", patience=2), {"run": "a"}
    )


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The state of a run of one epoch."""
    path = tmp_path_factory.mktemp("good") / "state.npz"
    saving = state_of(path)
    saving.set_model(small_model())
    saving.model.stop_training = False
    saving.early_stopping.set_model(saving.model)
    saving.early_stopping.on_train_begin()
    saving.early_stopping.best = 0.5
    saving.early_stopping.best_weights = saving.model.get_weights()
    saving.on_epoch_end(0, {"val_wauc": 0.5})
    return path


def restore_or_refuse(path, model):
    with read_or_refused(path, TrainingError):
        saved = state_of(path)
        epoch = saved.restore(model)
        saved.set_model(model)
        saved.on_train_begin()
        assert epoch == len(saved.history) <= 10


@few_and_many(15, 400)
def test_the_bytes_of_a_state(count, state, tmp_path):
    content, path = state.read_bytes(), tmp_path / "state.npz"
    model = small_model()

    @examples(count)
    @given(st.one_of(changed_bytes(content), changed_tail(content, 600)))
    def check(data):
        path.write_bytes(data)
        restore_or_refuse(path, model)

    check()


@few_and_many(15, 400)
def test_the_members_of_a_state(count, state, tmp_path):
    members, path = contents(state), tmp_path / "state.npz"
    model = small_model()

    @examples(count)
    @given(changed_member(members))
    def check(drawn):
        stored({**members, drawn[0]: drawn[1]})(path)
        restore_or_refuse(path, model)

    check()


@few_and_many(15, 400)
def test_the_json_of_a_state(count, state, tmp_path):
    path, model = tmp_path / "state.npz", small_model()
    with np.load(state) as arrays:
        good = dict(arrays)
    content = json.loads(str(good["state"]))

    @examples(count)
    @given(changed_json(content))
    def check(text):
        np.savez(path, **{**good, "state": np.array(text.decode())})
        restore_or_refuse(path, model)

    check()


@pytest.mark.parametrize(
    ("file", "read"),
    [("adapters", adapter_file.read), ("state", state_file.read)],
)
def test_members_within_a_member(file, read, tmp_path, request):
    good = request.getfixturevalue(file)
    path, name = tmp_path / "file.npz", "outer.npy"
    with zipfile.ZipFile(good) as archive:
        members = archive.infolist()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, good.read_bytes())
        for member in members:
            # Behind the outer one's header, the end of which is its name.
            member.header_offset += 30 + len(name)
            archive.filelist.append(member)
    with pytest.raises(ValueError, match="members are larger than the file"):
        read(path)
