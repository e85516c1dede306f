"""``modemtls explain``: a transcript told as a story."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modemtls.cli.output import printable

if TYPE_CHECKING:
    from modemtls.cli.settings import Settings

__all__ = ["run"]


def run(settings: Settings) -> int:
    """``modemtls explain FILE``; 1 if bytes remain that belong to nothing."""
    from modemtls.dialogue.explain import explain
    from modemtls.dialogue.known import choose
    from modemtls.profile import bundled, load
    from modemtls.transcript import load as read

    name = settings.required("file")
    transcript = read(Path(name))
    chosen = settings.text("profile")
    if chosen is None:
        vocabulary = choose(transcript, [load(one) for one in bundled()])
    else:
        profile = load(chosen, abstract=True)
        vocabulary = choose(transcript, [profile], profile.name)
    story = explain(transcript, vocabulary)
    words = f"in the words of {story.vocabulary}" if story.vocabulary else "with no profile that knows it"
    print(f"{printable(name)}, {words}")
    for line in story.lines():
        print(printable(line))
    if story.complete:
        return 0
    sys.stdout.flush()
    count = sum(len(rest.data) for rest in story.rest)
    print(f"modemtls: {printable(name)}: {count} byte{'s' * (count != 1)} belong to nothing", file=sys.stderr)
    return 1
