"""Holds a lease in a process of its own and does as it is told, line by line.

Arguments: FOLDER BEAT_SECONDS EXPIRY_SECONDS [--take_over]
"""

import sys

from lmcodistill import errors
from lmcodistill.storage import places, publication
from lmcodistill.supervision import lease
from tests.support import snapshots


def say(*words: object) -> None:
    print(*words, flush=True)


def main(folder: str, beat: str, expiry: str, *flags: str) -> None:
    lease.BEAT_SECONDS, lease.EXPIRY_SECONDS = float(beat), float(expiry)
    root = places.place(folder)
    try:
        held_lease = lease.Lease.acquire(
            root / "leases", take_over="--take_over" in flags
        )
    except errors.GroupLostError as error:
        say("refused", error)
        return
    say("held", held_lease.generation)
    held_lease.keep(lambda error: say("lost", error))
    for line in sys.stdin:
        try:
            if line == "check\n":
                held_lease.check()
            elif line == "publish\n":
                publication.publish(
                    root / "exports",
                    "export",
                    50,
                    snapshots.write_two_files,
                    {},
                    held_lease.ownership(None),
                )
            elif line == "renew\n":
                held_lease.renew()
            elif line == "release\n":
                held_lease.release()
        except errors.GroupLostError as error:
            say("not owner", error)
        else:
            say("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
