import signal
import threading

import pytest

from mlora_tf.stop_signals import Stopped
from mlora_tf.stop_signals import StopSignals

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@BOTH
def test_a_signal_raises_where_it_is_not_held(number):
    with pytest.raises(Stopped) as stopped, StopSignals():
        signal.raise_signal(number)
    assert stopped.value.received == number
    assert stopped.value.status == 128 + number
    assert str(stopped.value) == f"stopped by {number.name}"


@BOTH
def test_a_signal_that_is_held_waits_for_the_check(number):
    done = []
    with pytest.raises(Stopped), StopSignals() as stop, stop.held():
        signal.raise_signal(number)
        done.append("the step under way")
        stop.check()
        done.append("another step")
    assert done == ["the step under way"]


def test_a_signal_that_nobody_checked_raises_when_it_is_no_longer_held():
    done = []
    with pytest.raises(Stopped), StopSignals() as stop:
        with stop.held():
            signal.raise_signal(signal.SIGTERM)
            done.append("all of it")
        done.append("more")
    assert done == ["all of it"]


def test_what_may_be_cut_short_is_cut_short_within_held():
    done = []
    with pytest.raises(Stopped), StopSignals() as stop, stop.held():
        with stop.at_once():
            signal.raise_signal(signal.SIGTERM)
        done.append("more")
    assert done == []


def test_what_may_be_cut_short_does_not_begin_after_a_signal():
    done = []
    with pytest.raises(Stopped), StopSignals() as stop, stop.held():
        signal.raise_signal(signal.SIGTERM)
        with stop.at_once():
            done.append("begun")
    assert done == []


def test_signals_are_held_again_after_what_may_be_cut_short():
    with pytest.raises(Stopped), StopSignals() as stop, stop.held():
        with stop.at_once():
            pass
        signal.raise_signal(signal.SIGTERM)
        stop.check()


def test_a_second_sigint_does_not_wait_and_is_not_to_be_saved():
    with (
        pytest.raises(KeyboardInterrupt) as stopped,
        StopSignals() as stop,
        stop.held(),
    ):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert not isinstance(stopped.value, Stopped)


def test_a_second_sigterm_waits():
    with pytest.raises(Stopped), StopSignals() as stop, stop.held():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        stop.check()
    assert stop.received == signal.SIGINT


def test_handlers_are_as_they_were_afterwards():
    before = [signal.getsignal(number) for number in signal.valid_signals()]
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    after = [signal.getsignal(number) for number in signal.valid_signals()]
    assert after == before


def test_another_thread_handles_no_signals():
    entered = []

    def enter():
        with StopSignals() as stop, stop.held():
            stop.check()
            entered.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [signal.getsignal(signal.SIGTERM)]


def test_a_message_says_what_became_of_the_work():
    stopped = Stopped(signal.SIGTERM, "in epoch 3.")
    assert str(stopped) == "stopped by SIGTERM in epoch 3."
