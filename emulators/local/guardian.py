"""Nothing outlives the local stack, not even after `kill -9` of it.

A small shell process holds the reading end of a pipe. The kernel closes the writing end when the
stack's process dies, however it dies; the guardian then ends the process groups it was told of.
It lives in a session of its own, so a Ctrl-C in the terminal does not reach it.
"""

from __future__ import annotations

import subprocess

# One line per change: "+ 123" watch the process group 123, "- 123" forget it.
_SCRIPT = r"""
groups=" "
while read -r sign group; do
    case $sign in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
waited=0
while [ $waited -lt 20 ]; do
    alive=
    for group in $groups; do kill -s 0 -- "-$group" 2>/dev/null && alive=1; done
    [ -z "$alive" ] && exit 0
    sleep 0.1
    waited=$((waited + 1))
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"""


class Guardian:
    """Ends the watched process groups (SIGTERM, after 2 s SIGKILL) when this process is gone."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """End this process group when the stack dies."""
        self._tell(f"+ {group}\n")

    def forget(self, group: int) -> None:
        """The group is gone; its number may come to belong to somebody else."""
        self._tell(f"- {group}\n")

    def close(self) -> None:
        """End what is still watched, and the guardian; safe to call twice."""
        if self._shell.stdin and not self._shell.stdin.closed:
            self._shell.stdin.close()
        self._shell.wait()

    def _tell(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()
