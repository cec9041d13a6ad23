"""What `make demo` does after the audit: `app.py` as a process of its own, on a real bundle, with the real target."""

import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import expect, sync_playwright

from precompute.bundle import audio_file

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def address(bundle_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--bundle", str(bundle_path), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.mark.parametrize("page", ["", "dataset", "conditions", "score", "method"])
def test_every_page_answers(address, page):
    with urllib.request.urlopen(f"{address}/{page}") as answer:
        assert answer.status == 200
        assert "Audio membership audit" in answer.read().decode()


def example(bundle, bundle_path, label):
    clips = bundle.clips[(bundle.clips.dataset == "core-clean") & (bundle.clips.label == label)]
    return audio_file(bundle_path, clips.clip_id.iloc[0])


def test_a_member_and_a_non_member_are_scored_by_the_real_target(address, bundle, bundle_path):
    client = Client(address, verbose=False)
    answers = [
        client.predict(
            handle_file(example(bundle, bundle_path, label)),
            "core-clean",
            "tiny-audio-flamingo",
            "",
            api_name="/score",
        )
        for label in (1, 0)
    ]
    for answer in answers:
        assert {"clip", "silence", "voice"} <= answer.keys()
        assert 0 < answer["clip"]["score"] < 1
        assert answer["clip"]["n_non_members"] == 40
        assert answer["silence"]["score"] is not None
    member, other = answers
    assert member["clip"]["score"] > other["clip"]["score"]


def test_a_clip_uploaded_on_the_page_is_scored_and_shown(address, bundle, bundle_path):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{address}/score")
        page.locator("input[type=file]").first.set_input_files(example(bundle, bundle_path, 1))
        page.get_by_role("button", name="Score this clip").click()
        expect(page.locator("#result")).to_contain_text("known non-members", timeout=60_000)
        browser.close()


def test_a_port_that_is_taken_is_one_sentence_and_status_2(address, bundle_path):
    port = address.rsplit(":", 1)[1]
    command = [sys.executable, "app.py", "--bundle", str(bundle_path), "--port", port]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
