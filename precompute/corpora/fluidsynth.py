"""Playing notes with FluidSynth and Debian's TimGM6mb soundfont, many in one run."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from precompute.clips import SAMPLE_RATE, InputError, resample
from precompute.corpora.core_sounds import sounds_root

SLOT_SECONDS = 4.0
"""Time given to every note in a run; each is silenced before the next begins."""

SYNTH_RATE = 32_000
"""Rate in Hz that FluidSynth works at; twice the wanted one, so that bright samples do not fold back."""

SOUNDFONT = "share/sounds/sf2/TimGM6mb.sf2"
BEND_PER_CENT = 8192 / 200
"""Units of MIDI's pitch wheel per cent, with its range of two semitones."""


@dataclass(frozen=True)
class Played:
    """How one note is played.

    Parameters
    ----------
    program : int
        General MIDI program, counted from 0.
    pitch : int
        MIDI note number; 60 is C4.
    velocity : int
        1 to 127.
    onset, hold : float
        Seconds until the key goes down, and how long it stays down.
    cents : float
        Off the tuning, within a semitone either way.
    """

    program: int
    pitch: int
    velocity: int
    onset: float
    hold: float
    cents: float = 0.0


def soundfont() -> Path:
    """Find the soundfont, installed or unpacked without root.

    Raises
    ------
    InputError
        Naming the package to install.
    """
    for root in (sounds_root(), Path("/usr")):
        if (root / SOUNDFONT).is_file():
            return root / SOUNDFONT
    raise InputError(
        f"the soundfont is not installed (no {SOUNDFONT}): run `make setup`, "
        "or install the Debian package timgm6mb-soundfont"
    )


def write_midi(notes: Sequence[Played], path: Path) -> None:
    """Write notes as a MIDI file, one slot after the other; a tick is a millisecond."""
    import mido

    file = mido.MidiFile(ticks_per_beat=500)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    now = 0
    for index, note in enumerate(notes):
        slot = round(1000 * SLOT_SECONDS) * index
        down = slot + round(1000 * note.onset)
        moments = (
            (slot, mido.Message("program_change", program=note.program)),
            (slot, mido.Message("pitchwheel", pitch=round(note.cents * BEND_PER_CENT))),
            (down, mido.Message("note_on", note=note.pitch, velocity=note.velocity)),
            (down + round(1000 * note.hold), mido.Message("note_off", note=note.pitch)),
            (slot + round(1000 * SLOT_SECONDS) - 20, mido.Message("control_change", control=120)),  # all sound off
        )
        for time, message in moments:
            track.append(message.copy(time=time - now))
            now = time
    track.append(mido.MetaMessage("end_of_track", time=20))
    file.save(path)


def play(notes: Sequence[Played], seconds: float) -> list[np.ndarray]:
    """Play every note for itself.

    Parameters
    ----------
    notes : sequence of Played
    seconds : float
        Length of each result, at most `SLOT_SECONDS` less a tenth.

    Returns
    -------
    list of np.ndarray [shape=(seconds * SAMPLE_RATE,)], float32
        Mono at `SAMPLE_RATE`, as loud as it was played.

    Raises
    ------
    InputError
        If FluidSynth or the soundfont is not installed, or it fails.
    """
    import soundfile

    from precompute.conditions.voices.programs import run_program

    font = soundfont()
    with tempfile.TemporaryDirectory(prefix="notes-") as folder:
        midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        write_midi(notes, midi)
        options = ["-n", "-i", "-q", "-R", "0", "-C", "0", "-g", "1.2", "-r", str(SYNTH_RATE), "-T", "wav"]
        done = run_program("fluidsynth", "fluidsynth", [*options, "-F", str(wav), str(font), str(midi)])
        if done.returncode or not wav.is_file():
            said = " ".join(done.stderr.decode(errors="replace").split())
            raise InputError(f"fluidsynth could not play {len(notes)} note(s): {said or 'it wrote no audio'}")
        samples = soundfile.read(wav, dtype="float32", always_2d=True)[0].mean(axis=1)
    slot, length = round(SLOT_SECONDS * SYNTH_RATE), round(seconds * SYNTH_RATE)
    samples = np.pad(samples, (0, max(0, slot * len(notes) - len(samples))))
    return [resample(samples[i * slot : i * slot + length], SYNTH_RATE, SAMPLE_RATE) for i in range(len(notes))]
