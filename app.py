"""Open the explorer on a bundle: ``python app.py [--bundle BUNDLE] [--host H] [--port P]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

HERE = Path(__file__).resolve().parent
DEFAULT_BUNDLES = (HERE / "bundles" / "full", HERE / "bundles" / "demo")


def parser() -> argparse.ArgumentParser:
    """Options of the command line; a Space sets host and port by Gradio's own variables."""
    options = argparse.ArgumentParser(prog="app.py", description=__doc__)
    options.add_argument("--bundle", type=Path, help="folder written by `python -m precompute audit`")
    options.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    options.add_argument("--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
    return options


def default_bundle() -> Path:
    """Whole audit where there is one, else the demo."""
    return next((path for path in DEFAULT_BUNDLES if (path / "audit.json").is_file()), DEFAULT_BUNDLES[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the explorer until interrupted.

    Parameters
    ----------
    arguments : sequence of str or None
        Without the program's name; None takes ``sys.argv``.

    Returns
    -------
    int
        0 after Ctrl-C, 2 where the bundle is missing or broken or the port is taken (one sentence on stderr).
    """
    options = parser().parse_args(arguments)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from explorer.catalog import Catalog
    from explorer.served import Served
    from explorer.site import build_site, launch_options
    from precompute.bundle import read_bundle
    from precompute.clips import InputError

    try:
        served = Served.open(Catalog(read_bundle(options.bundle or default_bundle())))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        site = build_site(served)
        site.queue(max_size=20)
        site.launch(
            server_name=options.host,
            server_port=options.port,
            prevent_thread_lock=True,
            quiet=True,
            **launch_options(served),
        )
        Thread(target=served.warm, daemon=True).start()
        print(f"The explorer is at http://{options.host}:{options.port}  (Ctrl-C ends it)", flush=True)
        site.block_thread()
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        served.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
