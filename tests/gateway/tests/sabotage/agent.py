#!/usr/bin/env python3
"""An agent that obeys every rule of dist/protocol.md but the one that it is told to break.

`gateway check` is tested with it: each check must fail against exactly the break of its rule. It
needs Python 3.11 and its standard library only, and reads the environment of the real agent.

    agent.py [OPTIONS]           serve the gateway of VMKIT_GATEWAY_URL
    agent.py [OPTIONS] doctor    see whether the gateway answers, and end
    agent.py [OPTIONS] --version print `vmkit-agent <version>`
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import breaks
import clock


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", nargs="?", choices=("run", "doctor", "rollback"), default="run")
    parser.add_argument("--installed", metavar="PATH", help="the file that an upgrade replaces")
    parser.add_argument("--own-version", metavar="V", default="1.0.0")
    parser.add_argument("--clock-scale", metavar="S", type=float, default=1.0)
    parser.add_argument("--break", dest="rule", metavar="ID", choices=breaks.BREAKS)
    parser.add_argument("--list-breaks", action="store_true")
    parser.add_argument("--list-unbreakable", action="store_true")
    parser.add_argument("--version", action="store_true")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.version:
        print(f"vmkit-agent {given.own_version}")
        return
    if given.list_breaks or given.list_unbreakable:
        listed = breaks.BREAKS if given.list_breaks else breaks.UNBREAKABLE
        print("".join(f"{rule}\t{words}\n" for rule, words in listed.items()), end="")
        return
    clock.set_scale(given.clock_scale)
    if given.rule:
        breaks.choose(given.rule)
    # Not needed for what is above, and slow to load.
    import asyncio

    import life
    import rollback
    import settings

    if given.command == "rollback":
        rollback.guard(given.installed)
        return
    used = settings.load(given.own_version, given.installed)
    if given.command == "doctor":
        asyncio.run(life.doctor(used))
        return

    async def live() -> None:
        await life.Life(used).live()

    asyncio.run(live())


if __name__ == "__main__":
    main()
