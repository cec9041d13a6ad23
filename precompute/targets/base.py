"""What the audit asks of a model, and how any decoder-only chat model of transformers answers it.

`Target` is the protocol. `ChatTarget` fulfils it for models that read audio through a processor with a chat template
and write text through a key-value cache; a family that differs overrides the one method in which it differs.
torch is imported inside functions, so that naming a target costs nothing.
"""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from precompute.clips import InputError, sound_id
from precompute.indicators import STATISTICS, TokenStats
from precompute.targets.loading import Placement, Source, is_small, load_model, load_processor
from precompute.targets.prefill import Prefill, join

if TYPE_CHECKING:
    import torch

    from precompute.targets.families import Family

DEFAULT_PROMPT = "Transcribe the input speech."
PROMPTS: Mapping[str, str] = {
    "speech": DEFAULT_PROMPT,
    "sound": "Describe the sound in one sentence.",
    "music": "Describe the music in one sentence.",
}
"""What to ask per task of `precompute.clips.TASKS` where neither the user nor the family has another prompt."""
LOGITS_AT_ONCE = 2**26
"""Largest number of logits (rows x positions x vocabulary) in memory while given text is scored."""
LOGITS_REDUCED_AT_ONCE = 2**22
"""Largest number of logits reduced to statistics together on a CPU: their intermediate values fit its cache better."""
READ_AT_ONCE = 16
"""Inputs read together; a larger batch is put together from them, the padding of each part being its own."""
LEAVE_AT = 0.75
"""Share of the rows of a batch still being written at which finished ones leave it: leaving copies the whole cache."""
PAIRS_KEPT = 2**12
"""Short runs of tokens whose text is remembered."""
MOST_COPIES = 4
"""Batches of a small model under way at once: about a quarter of their time is Python's, which runs one at a time."""
PREFILL_BYTES = 2**28
"""Memory for the read-in inputs kept between calls: several texts are scored under one audio."""


class Target(Protocol):
    """A model under audit.

    Attributes
    ----------
    id : str
        Embedded name, folder name or hub id.
    revision : str
        What determines the numbers besides the id: a hub commit or a hash of the folder's files.
    dtype : str
        Of the weights, for instance ``float32``; log-probabilities are float32 always.
    family : str
        transformers' model type.
    prompts : mapping of str to str
        What to ask per task (key of `precompute.clips.TASKS`) where the user gives no prompt.
    access : str
        ``weights``; ``logprobs`` where only those of what it wrote are told; ``labels`` where only its text is.
    limits : str or None
        What is not known of it without its weights, for people.
    decoding : str
        How it writes, for people.
    """

    id: str
    revision: str
    dtype: str
    family: str
    prompts: Mapping[str, str]
    access: str
    limits: str | None
    decoding: str

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        """Decode greedily from raw logits and keep the statistics of that very pass.

        Parameters
        ----------
        audios : sequence of np.ndarray [shape=(n_samples,)]
            One batch of clips, 16 kHz mono float32.
        prompt : str
        max_new_tokens : int

        Returns
        -------
        list of TokenStats
            One per clip; the end token, where it was reached, is the last token.
        """
        ...

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        """Score given ids as the answer to (audio, prompt), by teacher forcing.

        Parameters
        ----------
        audios : sequence of np.ndarray [shape=(n_samples,)]
            One batch of clips, 16 kHz mono float32.
        prompt : str
        token_ids : sequence of sequences of int
            One answer per clip; may be empty.

        Returns
        -------
        list of TokenStats
            One per clip.
        """
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids that the model would have to write for `text`, end token included."""
        ...


def token_statistics(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Reduce logits to the numbers kept per token, on their device and in float32.

    Parameters
    ----------
    logits : torch.Tensor [shape=(..., V)]
        Raw logits of the positions that predict `chosen`; an entry may be -inf.
    chosen : torch.Tensor [shape=(...)], int
        Scored token ids.

    Returns
    -------
    torch.Tensor [shape=(..., 8)], float32
        Columns as in `precompute.indicators.STATISTICS`.
    """
    import torch

    flat, wanted = logits.reshape(-1, logits.shape[-1]), chosen.reshape(-1)
    rows = max(1, (LOGITS_REDUCED_AT_ONCE if logits.device.type == "cpu" else LOGITS_AT_ONCE) // flat.shape[-1])
    parts = [_reduced(flat[i : i + rows], wanted[i : i + rows]) for i in range(0, max(len(flat), 1), rows)]
    return torch.cat(parts).reshape(*chosen.shape, len(STATISTICS))


def _reduced(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Reduce a slice of logits [shape=(n, V)] to statistics [shape=(n, 8)]."""
    import torch

    log_p = logits.float().log_softmax(-1)
    logprob = log_p.gather(-1, chosen[..., None])[..., 0]
    log_p.clamp_(min=-200)  # where p is 0, and 0 log 0 is 0
    p = log_p.exp()
    # The tolerance keeps uniform logits, which rounding puts just below 1 / V, from counting no entry at all.
    plausible = (p >= (1 - 1e-4) / p.shape[-1]).sum(-1).clamp(min=1)
    entropy, largest = -torch.linalg.vecdot(p, log_p), log_p.amax(-1)
    spread = torch.linalg.vecdot(p, log_p.add_(entropy[..., None]).square_())  # in place: a slice of logits is large
    best = p.topk(2, dim=-1).values
    columns = {
        "logprob": logprob,
        "renyi_0": plausible.float().log(),
        "entropy": entropy,
        "renyi_2": -torch.linalg.vecdot(p, p).log(),
        "renyi_inf": -largest,
        "gap": best[..., 0] - best[..., 1],
        "mean_logprob": -entropy,
        "std_logprob": spread.sqrt(),
    }
    return torch.stack([columns[name] for name in STATISTICS], dim=-1)


def pieces(decode: Callable[[tuple[int, ...]], str], ids: Sequence[int]) -> tuple[str, ...]:
    """Readable piece of every token; joined they are the whole decoded text, special tokens shown.

    A character that spans several byte-level tokens is given to the last of them.

    Parameters
    ----------
    decode : callable
        Gives the text of ids, special tokens shown.
    ids : sequence of int

    Returns
    -------
    tuple of str
        As long as `ids`.
    """
    # A piece is what decoding adds to the piece before it: some tokenizers decode a word alone without its space.
    ids = tuple(ids)
    result: list[str] = []
    begin = done = 0
    for end in range(1, len(ids) + 1):
        before = decode(ids[begin:done])
        text = decode(ids[begin:end])
        if text.endswith("�") and end < len(ids):
            result.append("")
            continue
        result.append(text[len(before) :])
        begin, done = done, end
    return tuple(result)


def decoded(tokenizer: Any, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
    """Text of ids as they stand, with no space taken out of it."""
    return tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False)


class ChatTarget:
    """A `Target` made of a decoder-only model with a key-value cache and a processor with a chat template.

    Only the model's forward pass is used: no sampling, no logits processor and no length rule of a generation
    configuration takes part; of it only the end tokens are read. One thread at a time: recent inputs are remembered.

    Parameters
    ----------
    model : PreTrainedModel
        In evaluation mode, on its device.
    processor : ProcessorMixin
        Pads prompts on the left.
    id, revision : str
        See `Target`.
    prompts : mapping of str to str
        See `Target`.
    """

    access: str = "weights"
    limits: str | None = None
    decoding: str = "greedy, no logits processors"
    closing: ClassVar[str | None] = None
    """The token that closes an answer, where that is not the tokenizer's own end token."""
    audio_first: ClassVar[bool] = False
    """Whether the audio comes before the prompt, as the family's own examples have it."""

    def __init__(
        self, model: Any, processor: Any, *, id: str, revision: str, prompts: Mapping[str, str] = PROMPTS
    ) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.id = id
        self.revision = revision
        self.prompts = prompts
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.family = str(model.config.model_type)
        self.end_ids = end_tokens(model, self.tokenizer, self.closing)
        self._prefills: OrderedDict[_Batch, tuple[Prefill, list[np.ndarray]]] = OrderedDict()
        self._front: ChatTarget | None = None
        # The same few tokens follow each other again and again: a clip's text under each condition, to begin with.
        self._shown = lru_cache(PAIRS_KEPT)(partial(decoded, self.tokenizer))
        self._prepared: dict[_Batch, tuple[Future[Any], Sequence[np.ndarray]]] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._copies: list[ChatTarget] = []

    @classmethod
    def load(cls, source: Source, family: Family, placement: Placement) -> ChatTarget:
        """Load processor and model; `InputError` says what is missing."""
        processor = cls.open_processor(source, family)
        model = cls.open_model(source, family, placement)
        return cls(model, processor, id=source.id, revision=source.revision, prompts=family.prompts)

    @classmethod
    def open_processor(cls, source: Source, family: Family) -> Any:
        """Load the processor; see `load_processor`."""
        return load_processor(source, family.chat)

    @classmethod
    def open_model(cls, source: Source, family: Family, placement: Placement) -> Any:
        """Load the model; see `load_model`."""
        return load_model(source, placement, family.auto_class)

    def generate(self, audios: Sequence[np.ndarray], prompt: str, max_new_tokens: int) -> list[TokenStats]:
        """Decode greedily from raw logits; see `Target.generate`."""
        import torch

        from precompute.targets.room import make_room

        if not len(audios):
            return []
        with torch.inference_mode():
            state = self.prefill(audios, prompt)
            make_room(state.cache)
            device = state.logits.device
            ends = torch.tensor(self.end_ids, device=device)
            rows = torch.arange(len(audios), device=device)  # of the batch, those still in `state`
            going = torch.ones_like(rows, dtype=torch.bool)  # of these, those still written
            ids = torch.full((len(audios), max_new_tokens), -1, device=device)
            numbers = torch.full((*ids.shape, len(STATISTICS)), torch.nan, device=device)
            for step in range(max_new_tokens):
                chosen = state.logits.argmax(-1)
                ids[rows[going], step] = chosen[going]
                numbers[rows[going], step] = token_statistics(state.logits, chosen)[going]
                going &= ~torch.isin(chosen, ends)
                left = int(going.sum())
                if step + 1 == max_new_tokens or not left:
                    break
                if left <= LEAVE_AT * len(rows):  # finished rows leave the batch instead of being decoded on
                    kept = torch.nonzero(going)[:, 0]
                    rows, chosen, going, state = rows[kept], chosen[kept], going[kept], state.keep(kept)
                state.logits = self.step(state, chosen[:, None], torch.ones_like(chosen[:, None]))[:, -1]
        lengths = (ids >= 0).sum(1).tolist()
        return self._collect([row[:n] for row, n in zip(ids.tolist(), lengths, strict=True)], numbers)

    def score(self, audios: Sequence[np.ndarray], prompt: str, token_ids: Sequence[Sequence[int]]) -> list[TokenStats]:
        """Teacher-force given ids in chunks of positions; see `Target.score`."""
        import torch

        if len(audios) != len(token_ids):
            raise ValueError(f"{len(audios)} clips but {len(token_ids)} texts")
        answers = [[int(token) for token in ids] for ids in token_ids]
        longest = max(map(len, answers), default=0)
        if not longest:
            return self._collect(answers, np.zeros((len(answers), 0, len(STATISTICS)), dtype=np.float32))
        with torch.inference_mode():
            state = self.prefill(audios, prompt)
            device = state.logits.device
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in answers], device=device)
            width = torch.tensor([len(row) for row in answers], device=device)
            real = torch.arange(longest, device=device) < width[:, None]
            numbers = [token_statistics(state.logits[:, None], ids[:, :1])]
            chunk = max(1, LOGITS_AT_ONCE // state.logits.numel())
            for first in range(0, longest - 1, chunk):
                read = slice(first, min(first + chunk, longest - 1))  # reading token j predicts token j + 1
                logits = self.step(state, ids[:, read], real[:, read])
                numbers.append(token_statistics(logits, ids[:, read.start + 1 : read.stop + 1]))
            return self._collect(answers, torch.cat(numbers, dim=1))

    def encode(self, text: str) -> list[int]:
        """Return the ids that the model would have to write for `text`, end token included.

        Parameters
        ----------
        text : str
            Taken literally: a special token spelled out in it is plain text.

        Returns
        -------
        list of int
        """
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return [*ids, self.end_ids[0]]

    def prefill(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Let the model read (audio, prompt) for a batch; equal audio is read once, recent batches are remembered.

        Parameters
        ----------
        audios : sequence of np.ndarray [shape=(n_samples,)]
        prompt : str

        Returns
        -------
        Prefill
            A copy that the caller may continue, one row per clip.
        """
        import torch

        ids = [sound_id(audio) for audio in audios]
        distinct = dict(zip(ids, audios, strict=True))
        with torch.inference_mode():
            key = next((key for key in self._prefills if key[0] == prompt and distinct.keys() <= set(key[1:])), None)
            if key is None:
                key = (prompt, *distinct)
                # Kept however large: the texts to score under this audio come next.
                states = [self.read(part, prompt) for part in _parts(list(distinct.values()))]
                self._prefills[key] = join(states), list(distinct.values())
                while len(self._prefills) > 1 and sum(p.nbytes for p, _ in self._prefills.values()) > PREFILL_BYTES:
                    self._prefills.popitem(last=False)
            self._prefills.move_to_end(key)
            state, _ = self._prefills[key]
            place = {one: index for index, one in enumerate(key[1:])}
            return state.select(torch.tensor([place[one] for one in ids], device=state.logits.device))

    def side_by_side(self) -> list[ChatTarget]:
        """Give this target and copies of it, each for a thread of its own; their weights are the same tensors.

        A small model on a CPU runs on one thread (`precompute.targets.loading.load_model`): further cores are of use to
        further batches only. Any other model takes all of its device for one batch, and stays alone.

        Returns
        -------
        list of ChatTarget
            As many as there are cores, `MOST_COPIES` at most; this one first.
        """
        count = min(MOST_COPIES, len(os.sched_getaffinity(0))) if is_small(self.model) else 1
        while len(self._copies) < count - 1:
            weights = {id(one): one for one in (*self.model.parameters(), *self.model.buffers())}
            model, processor = copy.deepcopy(self.model, weights), copy.deepcopy(self.processor)
            self._copies.append(type(self)(model, processor, id=self.id, revision=self.revision, prompts=self.prompts))
        return [self, *self._copies]

    def forget(self) -> None:
        """Free the memory of what was read; what `prepare` made ready is yet to be read."""
        self._prefills.clear()

    def prepare(self, audios: Sequence[np.ndarray], prompt: str) -> None:
        """Run the front end of a batch that will be read soon in a thread of its own, part by part; do not wait for it.

        Tokenizers must not be used by two threads at once, so that thread works on a copy of the processor. It does
        nothing for a family that does not read a batch in one piece.
        """
        if type(self).read is not ChatTarget.read:
            return
        if self._front is None or self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="front-end")
            self._front = copy.copy(self)
            self._front.processor = copy.deepcopy(self.processor)
            self._front.tokenizer = self._front.processor.tokenizer
        for part in _parts(audios):
            name = _batch(part, prompt)
            if name not in self._prepared:
                self._prepared[name] = self._thread.submit(self._front.inputs, part, prompt), part

    def read(self, audios: Sequence[np.ndarray], prompt: str) -> Prefill:
        """Run the prompt and the audio of a batch through the model, without memory of earlier calls."""
        coming, _ = self._prepared.pop(_batch(audios, prompt), (None, audios))
        if coming is None:
            self._prepared.clear()  # prepared for a batch that was read in other parts
        inputs = self.inputs(audios, prompt) if coming is None else coming.result()
        return self.first_pass(dict(inputs.to(self.model.device, self.model.dtype)))

    def first_pass(self, inputs: dict[str, torch.Tensor]) -> Prefill:
        """Let the model hear a batch and read its prompt, as its processor prepared them."""
        mask = inputs["attention_mask"]
        output = self.model(**inputs, position_ids=positions(mask), use_cache=True, logits_to_keep=1)
        return Prefill(output.logits[:, -1], output.past_key_values, mask)

    def step(self, state: Prefill, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Read further tokens of a batch.

        Parameters
        ----------
        state : Prefill
            What was read so far; its cache and its mask grow in place.
        ids : torch.Tensor [shape=(n, k)]
            Tokens to read.
        real : torch.Tensor [shape=(n, k)]
            0 where a token only fills a row up.

        Returns
        -------
        torch.Tensor [shape=(n, k, V)]
            Logits of what follows each token.
        """
        state.read(real)
        output = self.model(
            input_ids=ids,
            attention_mask=state.mask,
            position_ids=positions(state.mask)[:, -ids.shape[1] :],
            past_key_values=state.cache,
            use_cache=True,
        )
        return output.logits

    def inputs(self, audios: Sequence[np.ndarray], prompt: str) -> Any:
        """Prepare a batch with the model's own processor and chat template.

        Parameters
        ----------
        audios : sequence of np.ndarray [shape=(n_samples,)]
        prompt : str

        Returns
        -------
        transformers.BatchFeature
            Padded on the left.

        Raises
        ------
        InputError
            If the prompt spells out a special token, or audio is not a row of finite numbers.
        """
        self.check_prompt(prompt)
        heard = [self.fit(checked(audio)) for audio in audios]
        settings: dict[str, Any] = {"text_kwargs": {"padding": True, "padding_side": "left"}}
        if front_end := self.front_end(heard):
            settings["audio_kwargs"] = front_end
        return self.processor.apply_chat_template(
            [self.conversation(audio, prompt) for audio in heard],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs=settings,
        )

    def front_end(self, audios: Sequence[np.ndarray]) -> dict[str, Any]:
        """Set the feature extractor up for a batch of fitted clips; by default it keeps its own settings."""
        return {}

    def check_prompt(self, prompt: str) -> None:
        """Refuse a prompt that spells out a special token."""
        special = [token for token in self.tokenizer.all_special_tokens if token and token in prompt]
        if special:
            raise InputError(f"the prompt may not contain {special[0]}, which {self.id} reserves")

    def text_of(self, ids: Sequence[int]) -> str:
        """Read what an answer says: its ids decoded, without special tokens."""
        return decoded(self.tokenizer, ids, skip_special_tokens=True)

    def conversation(self, audio: np.ndarray, prompt: str) -> list[dict[str, Any]]:
        """Put one clip and the prompt into chat turns; an empty prompt is left out."""
        sound = [{"type": "audio", "audio": audio}]
        words = [{"type": "text", "text": prompt}] if prompt else []
        return [{"role": "user", "content": [*sound, *words] if self.audio_first else [*words, *sound]}]

    def fit(self, audio: np.ndarray) -> np.ndarray:
        """Adapt audio to what the family's processor can take; by default it can take everything."""
        return audio

    def _collect(self, ids: Sequence[list[int]], numbers: Any) -> list[TokenStats]:
        table = np.asarray(numbers if isinstance(numbers, np.ndarray) else numbers.cpu().numpy(), dtype=np.float32)
        return [
            TokenStats.from_numbers(
                ids=np.asarray(row, dtype=np.int64),
                numbers=table[index, : len(row)].copy(),
                tokens=pieces(self._shown, row),
                text=self.text_of(row),
            )
            for index, row in enumerate(ids)
        ]


_Batch = tuple[str | int, ...]
"""A prompt and audio, each by `sound_id`; audio is held as long as it is named so."""


def _parts(audios: Sequence[np.ndarray]) -> list[Sequence[np.ndarray]]:
    return [audios[first : first + READ_AT_ONCE] for first in range(0, len(audios), READ_AT_ONCE)]


def _batch(audios: Sequence[np.ndarray], prompt: str) -> _Batch:
    return (prompt, *(sound_id(audio) for audio in audios))


def checked(audio: np.ndarray) -> np.ndarray:
    """Return audio as contiguous float32 of its own; refuse what is not a row of finite numbers."""
    samples = np.array(audio, dtype=np.float32, order="C")  # a copy: torch warns of audio that cannot be changed
    if samples.ndim != 1 or not np.isfinite(samples).all():
        raise InputError(f"audio must be a row of finite numbers, not an array of shape {samples.shape}")
    return samples


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position of every token among the real ones, shape and type of `mask`; padding on the left does not count."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def end_tokens(model: Any, tokenizer: Any, closing: str | None = None) -> list[int]:
    """End tokens of a model; the one that closes an answer comes first: `closing`, or else the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    ids = [configured] if isinstance(configured, int) else list(configured or [])
    own = tokenizer.eos_token_id if closing is None else tokenizer.convert_tokens_to_ids(closing)
    if own is not None and (own in ids or not ids):
        ids = [own, *(one for one in ids if one != own)]
    if not ids:
        raise InputError("the model names no end token, neither in its generation config nor in its tokenizer")
    return ids
