"""One colour for each word of the vocabulary, the same in every panel.

The words of one label can be told apart by people with any common colour blindness; a test simulates them. The colours
begin with those of Okabe and Ito; success is green, the platform's own fault orange to brown, what is not known grey.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GOOD: Final = "#009E73"
WARNING: Final = "#E69F00"
BAD: Final = "#D55E00"
PLAIN: Final = "#56B4E9"
DEEP: Final = "#0072B2"
VIVID: Final = "#F0E442"
SOFT: Final = "#CC79A7"

WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pending": VIVID,
        "scheduled": PLAIN,
        "processing": DEEP,
        "in_progress": WARNING,
        "hold": "#944772",
        "completed": GOOD,
        "failed": BAD,
        "other": "#BDBDBD",
        "connected": "#75F09E",
        "not_connected": "#3B5DE9",
        "busy": "#F9E554",
        "voicemail": "#C76EDE",
        "cancelled": "#E4E4E8",
        "dropped": "#87682F",
        "unknown": "#6F767D",
        "customer_ended": "#1B9E77",
        "no_answer": "#6EC8E6",
        "rejected": "#7D5AE9",
        "assistant_ended": "#2AE67C",
        "transferred": "#B5EFCA",
        "silence_timeout": "#9F27B7",
        "max_duration": "#D84AB2",
        "start_error": "#C49E4F",
        "llm_error": "#B13D18",
        "tts_error": "#A87944",
        "stt_error": "#EBBF53",
        "pipeline_error": "#A04544",
        "transport_error": "#D0B494",
        "rate_limited": "#D48B24",
        "interested": "#19B75D",
        "not_interested": "#9683E9",
        "call_back": "#F0DB64",
        "send_details": "#BD9D29",
        "abandoned": "#C31AA1",
        "positive": "#6FDC98",
        "neutral": "#F9CD45",
        "negative": "#A83E2B",
        "no_number": "#916B3E",
        "invalid_number": "#426395",
        "outgoing_disabled": "#A29E39",
        "credentials": "#A035E2",
        "concurrency_limit": "#4F95CE",
        "start_failed": "#CC8C75",
        "max_retries": "#E1D51C",
        "exception": "#B65776",
        "unauthorized": "#F3E3B4",
        "forbidden": "#3B7D7F",
        "not_found": "#A53C39",
        "no_access": "#A6B1D4",
        "bad_request": "#AF2BD4",
        "server_error": "#E477EE",
        "timeout": "#AC6BBD",
        "connection": "#DFB2A3",
        "bad_response": "#A7DEE2",
        "too_large": "#9A6D23",
        "internal": "#CD246E",
        "prompt": "#5B85E8",
        "completion": "#8BC7CE",
        "agent": "#5B85E8",
        "user": VIVID,
    }
)
