"""Making items ahead of time, in a thread of its own."""

from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

Item = TypeVar("Item")
POLL = 0.1  # seconds: so often both sides look whether the other has stopped
PATIENCE = 5.0  # seconds that a thread has to end; one that waits for a stalled camera is left


def prefetch(items: Iterable[Item], size: int) -> Generator[Item, None, None]:
    """Yield items that a thread makes, at most `size` of them ahead of the caller.

    FFmpeg and OpenCV let other threads of Python run while they work, so nested calls make a
    pipeline. Close this generator to end the thread and close `items`.

    Raises:
        Exception: what `items` raises, in the caller's thread.
    """
    queue: Queue[Any] = Queue(size)
    stop, errors, end = Event(), list[BaseException](), object()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                queue.put(item, timeout=POLL)
            except Full:
                continue
            return True
        return False

    def run() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put(item):
                    break
        except BaseException as error:
            errors.append(error)
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
            put(end)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            try:  # with a time limit, or Windows would not hear Ctrl-C meanwhile
                item = queue.get(timeout=POLL)
            except Empty:
                continue
            if item is end:
                break
            yield item
        if errors:
            raise errors[0]
    finally:
        stop.set()
        thread.join(PATIENCE)
