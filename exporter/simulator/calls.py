"""One real call: how it went, and how its record will tell of it, stage by stage."""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from exporter.simulator import words
from exporter.simulator.profiles import Profile
from exporter.simulator.tables import Deck, Table
from exporter.simulator.words import ABSENT, BROKEN, CONNECTED, UNANSWERED, Reason, Word

SECOND: Final = 1_000_000
EIGHTH: Final = 125_000
"""Times in eighths of a second are exact as floats, and so is the difference of two of them."""

DISPATCH, STUB, BARE, PARTIAL, ENRICHED, JUDGED = "dispatch", "stub", "bare", "partial", "enriched", "judged"
"""The stages of a record: being dispatched; completed, data to follow; a call status and nothing else for good; what a
failed attempt leaves; the record without its evaluation; all of it."""

OVER_WORDS: Final = frozenset(("completed", "not_connected", "busy", "voicemail", "failed", "cancelled", "dropped"))


class Talk(msgspec.Struct, frozen=True, gc=False):
    """The shape of a transcript and its turns by role."""

    shape: str
    agent: int = 0
    user: int = 0
    other: int = 0
    breath: bool = False
    """The user's only message is white space."""


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is decided about a call when it begins. Times are whole microseconds since 1970."""

    number: int
    style: str
    time_style: str
    id: str
    start: int
    end: int
    start_raw: object
    """ABSENT, None, "NULL", "None"; or "told": written in ``time_style``."""
    end_raw: object
    duration_raw: object
    duration: float | None
    """As shown by the whole record."""
    verdict: str
    status: Word
    stub_status: Word
    dispatch_status: str
    direction: Word
    reason: Reason
    own_number: str
    own_number_raw: str | None
    recording_raw: object
    talk: Talk
    outcome: Word | None
    sentiment: Word | None
    judgement: str
    cost: float
    cost_shape: str
    cost_later: bool
    judged_later: bool
    usage: tuple[int, int, int, float] | None
    latency: tuple[int, float] | None

    @property
    def starts(self) -> float | None:
        """The start as shown."""
        return self.start / SECOND if self.start_raw == "told" else None

    @property
    def ends(self) -> float | None:
        """The end as shown."""
        return self.end / SECOND if self.end_raw == "told" else None


class Telling(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a record at one stage tells, in truth words; fields as in ``truth.Shown``."""

    direction: str = "unknown"
    call_status: str = "unknown"
    end_reason: str = "unknown"
    code: str = "unknown"
    start: float | None = None
    end: float | None = None
    duration: float | None = None
    recorded: bool = False
    messages: tuple[int, int, int] | None = None
    silent: bool | None = None
    outcome: str | None = None
    sentiment: str | None = None
    cost: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tts_characters: int = 0
    stt_seconds: float = 0.0
    latency_count: int = 0
    latency_sum: float = 0.0
    number: str = ""

    @property
    def over(self) -> bool:
        """The output alone tells that the call ended."""
        return self.end is not None or self.end_reason != "unknown" or self.call_status in OVER_WORDS

    @property
    def enriched(self) -> bool:
        """An end time or a duration is shown."""
        return self.end is not None or self.duration is not None


def telling(call: Call, stage: str) -> Telling:
    """What the record of a call tells at a stage."""
    if stage == DISPATCH:
        return Telling(direction=call.direction.word, duration=0.0)
    if stage in (STUB, BARE):
        return Telling(call_status=call.stub_status.word)
    base = Telling(
        direction=call.direction.word,
        call_status=call.status.word,
        end_reason=call.reason.group,
        code=call.reason.code,
        start=call.starts,
        end=call.ends,
        duration=call.duration,
    )
    return base if stage == PARTIAL else _whole(call, stage, base)


def _whole(call: Call, stage: str, base: Telling) -> Telling:
    talk, usage, latency = call.talk, call.usage or (0, 0, 0, 0.0), call.latency or (0, 0.0)
    speaks = talk.shape in ROLE_SHAPES
    judged = stage == JUDGED or not call.judged_later
    return msgspec.structs.replace(
        base,
        recorded=isinstance(call.recording_raw, str) and call.recording_raw != "",
        messages=(talk.agent, talk.user, talk.other) if speaks else None,
        silent=(talk.user == 0 or talk.breath) if speaks else None,
        cost=call.cost if judged or not call.cost_later else 0.0,
        prompt_tokens=usage[0],
        completion_tokens=usage[1],
        tts_characters=usage[2],
        stt_seconds=usage[3],
        number=call.own_number,
        outcome=(call.outcome.word or None) if judged and call.outcome else None,
        sentiment=(call.sentiment.word or None) if judged and call.sentiment else None,
        latency_count=latency[0] if judged else 0,
        latency_sum=latency[0] * latency[1] if judged else 0.0,
    )


ROLE_SHAPES: Final = frozenset(("objects", "agent_user", "agent_customer", "ai_lines", "agent_lines"))

_TIME_STYLES: Final = {
    "documented": Table((1, "z")),
    "native": Table((4, "sql_us"), (2, "sql"), (2, "naive_us"), (1, "naive")),
    "vapi": Table((4, "z_ms"), (1, "z")),
    "legacy": Table((1, "z_ms")),
}
_PRECISION: Final = {"z": SECOND, "z_ms": 1000, "sql_us": 1, "sql": SECOND, "naive_us": 1, "naive": SECOND}

_TALK_SHAPES: Final = {
    "documented": Table((20, "agent_user"), (1, "agent_lines"), (1, "null")),
    "native": Table((20, "objects"), (2, "agent_lines"), (1, "empty"), (1, "plain")),
    "vapi": Table((20, "objects"), (2, "agent_customer"), (2, "ai_lines"), (1, "absent")),
    "legacy": Table((20, "ai_lines"), (1, "empty")),
}
_DURATIONS: Final = {
    "documented": Table((1, "whole")),
    "native": Table((12, "whole"), (4, "exact"), (1, "text"), (1, "null")),
    "vapi": Table((6, "absent"), (2, "exact"), (1, "null"), (1, "NULL")),
    "legacy": Table((1, "absent")),
}
_DURATIONS_UNANSWERED: Final = Table((6, "zero"), (4, "zero_text"), (3, "NULL"), (3, "null"), (3, "absent"))
_SAYS_NOTHING: Final = {"absent": ABSENT, "null": None, "NULL": "NULL"}
_NO_TIMES: Final = Table[tuple[object, object]](
    (3, ("NULL", "None")), (2, (None, None)), (2, (ABSENT, ABSENT)), (1, ("None", "NULL"))
)
_COST_SHAPES: Final = {
    "documented": Table((1, "absent")),
    "native": Table((1, "metadata")),
    "vapi": Table((8, "both"), (1, "output"), (1, "metadata")),
    "legacy": Table((1, "breakdown")),
}
_REASONS: Final = {
    "documented": words.DOCUMENTED_REASONS,
    "native": words.NATIVE_REASONS,
    "vapi": words.VAPI_REASONS,
    "legacy": words.VAPI_REASONS,
}
_JUDGEMENTS: Final = {
    "documented": Table((20, "flat"), (1, "empty"), (1, "null")),
    "native": Table((20, "nested"), (1, "empty"), (1, "text"), (1, "list")),
    "vapi": Table((20, "nested"), (2, "flat"), (1, "absent")),
    "legacy": Table((1, "absent")),
}
_PRICED: Final = frozenset(("vapi", "legacy"))
_RECORDINGS: Final = Table[object]((100, "url"), (1, ""), (1, None))
_OWN_NUMBER_SHAPES: Final = Table((12, "{0}{1}{2}"), (2, "{0} {1} {2}"), (1, "{0} ({1}) {2}"), (1, "{0}-{1}-{2}"))


def _verdict(profile: Profile, random: Random) -> str:
    luck = random.random()
    if luck < profile.broken:
        return BROKEN
    return CONNECTED if luck < profile.broken + profile.connected else UNANSWERED


def _length(profile: Profile, verdict: str, random: Random) -> float:
    if verdict == UNANSWERED:
        return random.uniform(*profile.ring)
    low, high = profile.talk
    if verdict == BROKEN:
        return random.uniform(1.0, low + 10.0)
    return min(low + random.expovariate(3.0 / (high - low)), high)


def _duration(shape: str, start: int, end: int) -> tuple[object, float | None]:
    """The raw duration, and the one that is told by it (None: nothing is told)."""
    length = end - start
    exact = round(length / SECOND, 3)
    told: dict[str, tuple[object, float]] = {
        "whole": (length // SECOND, float(length // SECOND)),
        "exact": (exact, exact),
        "text": (str(length // SECOND), float(length // SECOND)),
        "zero": (0, 0.0),
        "zero_text": ("0", 0.0),
    }
    return told[shape] if shape in told else (_SAYS_NOTHING[shape], None)


def _talk(style: str, profile: Profile, verdict: str, seconds: float, random: Random) -> Talk:
    if verdict != CONNECTED:
        return Talk(Table((3, "empty"), (1, "null"), (1, "absent")).pick(random) if style != "documented" else "empty")
    shape = _TALK_SHAPES[style].pick(random)
    if shape not in ROLE_SHAPES:
        return Talk(shape)
    if random.random() < profile.silent:
        return (
            Talk(shape, agent=random.randint(1, 2), user=1, breath=True)
            if random.random() < 0.25 and shape == "objects"
            else Talk(shape, agent=random.randint(1, 3))
        )
    turns = min(2 + int(seconds / 5), profile.wordiness)
    other = 1 if shape == "objects" and random.random() < 0.05 else 0
    return Talk(shape, agent=(turns + 1) // 2, user=turns // 2, other=other)


class Dialler:
    """Begins the calls of one agent: the same generator, the same calls."""

    def __init__(self, profile: Profile, random: Random) -> None:
        self._random = random
        self.behave(profile)
        self._faults = Deck(words.VAPI_REASONS[BROKEN].rows, random)
        self._numbers = tuple(
            (f"+91{random.randrange(10, 99)}", f"{random.randrange(1000, 9999)}", f"{random.randrange(1000, 9999)}")
            for _ in range(3)
        )

    def behave(self, profile: Profile) -> None:
        """Dial like this from now on."""
        self._profile = profile
        self._styles = Table(*profile.styles)

    def dial(self, number: int, at: float, *, inbound: bool, kind: str) -> Call:
        """The call that begins at ``at``, with everything that will come of it."""
        random, profile = self._random, self._profile
        style = self._styles.pick(random)
        verdict = CONNECTED if inbound else _verdict(profile, random)
        seconds = _length(profile, verdict, random)
        nameless = style == "native" and random.random() < profile.nameless
        duration_shape = _DURATIONS[style].pick(random) if verdict == CONNECTED else _DURATIONS_UNANSWERED.pick(random)
        time_style = _TIME_STYLES[style].pick(random)
        start, end = self._times(at, seconds, time_style, dyadic=duration_shape in _SAYS_NOTHING)
        reason = self._reason(style, verdict)
        status = words.CALL_STATUSES_OF_REASON.get(reason.group, words.CALL_STATUSES[verdict]).pick(random)
        tells_its_end = reason.group != "unknown" or status.word in OVER_WORDS
        timeless = verdict != CONNECTED and tells_its_end and not nameless and random.random() < 0.4
        start_raw, end_raw = _NO_TIMES.pick(random) if timeless else ("told", "told")
        duration_raw, duration = _duration(duration_shape, start, end)
        if duration is None and not timeless:
            duration = end / SECOND - start / SECOND
        own = random.choice(self._numbers)
        telling_number = random.random() < 0.94
        judgement = _JUDGEMENTS[style].pick(random)
        cost_shape = _COST_SHAPES[style].pick(random)
        cost = (
            round(0.004 + seconds * random.uniform(0.0008, 0.0024), 4)
            if style in _PRICED and verdict != UNANSWERED
            else 0.0
        )
        judged_later = judgement not in ("absent", "null") and random.random() < profile.judged_later
        return Call(
            number=number,
            style=style,
            time_style=time_style,
            id="" if nameless else _call_id(style, random),
            start=start,
            end=end,
            start_raw=start_raw,
            end_raw=end_raw,
            duration_raw=duration_raw,
            duration=duration,
            verdict=verdict,
            status=status,
            stub_status=status if isinstance(status.raw, str) else words.STUB_STATUSES[verdict],
            dispatch_status=random.choice(words.DISPATCH_STATUSES),
            direction=self._direction(style, inbound=inbound, kind=kind),
            reason=reason,
            own_number="".join(own) if telling_number else "",
            own_number_raw=_OWN_NUMBER_SHAPES.pick(random).format(*own) if telling_number else None,
            recording_raw=_RECORDINGS.pick(random) if verdict == CONNECTED else "",
            talk=_talk(style, profile, verdict, seconds, random),
            outcome=self._outcome(judgement, verdict),
            sentiment=words.SENTIMENTS.pick(random) if judgement == "flat" else None,
            judgement=judgement,
            cost=cost,
            cost_shape=cost_shape,
            cost_later=judged_later and random.random() < 0.3,
            judged_later=judged_later,
            usage=self._usage(style, verdict, seconds),
            latency=self._latency(judgement, verdict),
        )

    def _reason(self, style: str, verdict: str) -> Reason:
        if verdict == BROKEN and _REASONS[style] is words.VAPI_REASONS:
            return self._faults.deal()
        return _REASONS[style][verdict].pick(self._random)

    def _times(self, at: float, seconds: float, time_style: str, *, dyadic: bool) -> tuple[int, int]:
        grain = _PRECISION[time_style]
        grain = max(grain, EIGHTH) if dyadic else grain
        start = round(at * 1000) * 1000
        if grain == 1:
            start += self._random.randrange(1000)
            return start, start + int(seconds * SECOND) // 1000 * 1000
        return start // grain * grain, (start // grain + max(int(seconds * SECOND) // grain, 1)) * grain

    def _direction(self, style: str, *, inbound: bool, kind: str) -> Word:
        dialect = "sdk" if kind == "sdk_call" else "phone" if style in ("vapi", "legacy") else "plain"
        return words.DIRECTIONS[dialect, inbound].pick(self._random)

    def _outcome(self, judgement: str, verdict: str) -> Word | None:
        table = {"nested": words.OUTCOMES, "flat": words.FLAT_OUTCOMES}.get(judgement)
        if table is None or (judgement == "nested" and self._random.random() < 0.05):
            return None
        return table[verdict].pick(self._random)

    def _usage(self, style: str, verdict: str, seconds: float) -> tuple[int, int, int, float] | None:
        if style != "vapi" or verdict != CONNECTED or self._random.random() < 0.1:
            return None
        turns = 1 + int(seconds / 5)
        return 400 * turns, 45 * turns, 80 * turns, int(seconds * 2) / 2

    def _latency(self, judgement: str, verdict: str) -> tuple[int, float] | None:
        if judgement != "nested" or verdict != CONNECTED or self._random.random() < 0.4:
            return None
        return self._random.randint(1, 20), round(self._random.uniform(0.3, 2.4), 3)


def _call_id(style: str, random: Random) -> str:
    if style == "native":
        return str(random.randrange(10**17, 10**18))
    if style == "documented":
        return f"CALL_{random.randrange(10**8, 10**9)}{random.randrange(10**6):06d}"
    text = f"{random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-7{text[13:16]}-b{text[17:20]}-{text[20:]}"
