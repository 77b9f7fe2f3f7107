"""Whether the workers of this cluster are asked to finish what they have in hand, and to take nothing new."""

import mmap
import time


class Flag:
    """Shared by a process and those that it forks; without a lock, which one of them could take to its grave."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def is_set(self) -> bool:
        return self._byte[0] == 1

    def set(self) -> None:
        self._byte[0] = 1

    def clear(self) -> None:
        self._byte[0] = 0

    def wait(self, seconds: float) -> bool:
        """Look at it for so long, or until it is set."""
        until = time.monotonic() + seconds
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return self.is_set()


asked = Flag()
