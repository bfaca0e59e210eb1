"""Every type of decoder that transformers maps, built tiny and counted: exact, refused by name, or a fault.

    python scripts/census                 # all types (two minutes), writes docs/models.md
    python scripts/census --check         # compares with docs/models.md instead
    python scripts/census llama bert      # some of them, compared

Each type has a process of its own, with a limit of time and memory. Exit status 1 where there is a fault, or another
result than in the table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from multiprocessing.connection import Connection

import torch
import transformers
from examining import Result, examine
from table import PAGE, differing, written
from tiny import names

SECONDS, GIGABYTES = 300, 12


def examined(model_type: str) -> Result:
    """What becomes of a type, in a process of its own."""
    context = multiprocessing.get_context("fork")  # what is imported here need not be imported again
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_examine, args=(model_type, send))
    child.start()
    send.close()
    try:
        if not receive.poll(SECONDS):
            return Result(model_type, "fault", f"not done after {SECONDS} seconds")
        return receive.recv()  # type: ignore[no-any-return]
    except EOFError:
        child.join()
        return Result(model_type, "fault", f"the process ended with {child.exitcode}")
    finally:
        child.kill()
        child.join()


def _examine(model_type: str, send: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    try:
        result = examine(model_type)
    except Exception:  # noqa: BLE001 - a traceback is what the census looks for
        lines = traceback.format_exc().strip().splitlines()
        result = Result(model_type, "fault", f"{lines[-1]} ({lines[-3].strip()})")
    send.send(result)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*", metavar="TYPE", help="types of configurations; all, unless some are named")
    parser.add_argument("--check", action="store_true", help="compare with the table, and write nothing")
    given = parser.parse_args()
    known = names()
    if unknown := set(given.types) - set(known):
        parser.error(f"transformers {transformers.__version__} maps no {', '.join(sorted(unknown))}")
    chosen = given.types or known
    transformers.logging.set_verbosity_error()
    results, began = [], time.monotonic()
    for number, name in enumerate(chosen, start=1):
        start = time.monotonic()
        result = examined(name)
        results.append(result)
        seconds = time.monotonic() - start
        print(f"{number:3}/{len(chosen)} {name}: {result.outcome} ({seconds:.1f} s) {result.why}", flush=True)
    print(", ".join(f"{number} {outcome}" for outcome, number in Counter(one.outcome for one in results).items()))
    print(f"{time.monotonic() - began:.0f} s")
    different = []
    if given.check or given.types:
        different = differing(results, PAGE.read_text(encoding="utf-8"))
        print(*different, sep="\n")
    else:
        PAGE.write_text(written(results), encoding="utf-8")
        print(f"written: {PAGE}")
    return int(bool(different) or any(one.outcome == "fault" for one in results))


if __name__ == "__main__":
    sys.exit(main())
