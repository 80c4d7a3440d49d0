"""SIGTERM and SIGINT end work where nothing is lost."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal has ended the work.

    Args:
        received: The signal.
        message: What became of the work, if that is known.

    Attributes:
        status: The exit status that tells of the signal.
    """

    def __init__(self, received: int, message: str = "") -> None:
        self.received = signal.Signals(received)
        self.message = message
        self.status = 128 + received
        super().__init__(str(self))

    def __str__(self) -> str:
        words = f"stopped by {self.received.name}"
        return f"{words} {self.message}" if self.message else words


class StopSignals:
    """Turns SIGTERM and SIGINT into `Stopped`, now or at the next safe point.

    A signal raises at once, wherever the main thread is, but for what runs
    within `held`: there it waits for `check`. A second SIGINT doesn't wait,
    and is a `KeyboardInterrupt` alone: nobody may save what it has cut short.
    Only the main thread gets signals; elsewhere this changes nothing.

    Attributes:
        received: The signal that came, if one has.

    Example:
    >>> with StopSignals() as stop:
    ...     try:
    ...         with stop.held():
    ...             signal.raise_signal(signal.SIGTERM)
    ...             print("goes on to the end of the block")
    ...     except Stopped as stopped:
    ...         print(stopped, stopped.status)
    goes on to the end of the block
    stopped by SIGTERM 143
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._handle)
                for number in SIGNALS
            }
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Within, a signal waits for `check`."""
        return self._holding(True)

    def at_once(self) -> contextlib.AbstractContextManager[None]:
        """Within, in the midst of `held`, a signal raises at once again."""
        return self._holding(False)

    def check(self) -> None:
        """Raises `Stopped` if a signal has come."""
        if self.received is not None:
            raise Stopped(self.received)

    @contextlib.contextmanager
    def _holding(self, held: bool) -> Iterator[None]:
        before, self._held = self._held, held
        try:
            if not held:
                self.check()
            yield
        finally:
            self._held = before
        if not before:
            self.check()

    def _handle(self, number: int, _: types.FrameType | None) -> None:
        if self._held and self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number
        if not self._held:
            raise Stopped(self.received)
