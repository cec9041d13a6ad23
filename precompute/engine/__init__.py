"""Engines: where the works of an audit are done, in this process or by workers on one machine or many."""

from __future__ import annotations

ENGINES: dict[str, str] = {
    "local": "in this process, on one device",
    "ray": "by workers that each hold the target, on one machine or many, through Ray Data",
}
"""Names of the engines, each with a few words for people."""
