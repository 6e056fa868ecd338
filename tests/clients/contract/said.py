"""What an answer says, whatever the dialect it is in: so that answers in different dialects can be compared."""

import json
from dataclasses import dataclass, field


@dataclass
class Said:
    text: str = ""
    thought: str = ""
    calls: list = field(default_factory=list)
    end: str = ""
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None


def by_chat(answer):
    """An answer of chat completions."""
    [choice] = answer.choices
    message = choice.message.to_dict()
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []]
    text, thought = parts(message.get("content"))
    return counted(Said(text, thought + thinking(message), calls, choice.finish_reason), answer.to_dict().get("usage"))


def by_chunks(chunks):
    """Its stream."""
    said, calls, usage = Said(), {}, None
    for chunk in chunks:
        usage = chunk.to_dict().get("usage") or usage
        for choice in chunk.choices:
            delta = choice.delta.to_dict()
            text, thought = parts(delta.get("content"))
            said.text += text
            said.thought += thought + thinking(delta)
            said.end = choice.finish_reason or said.end
            for call in delta.get("tool_calls") or []:
                known = calls.setdefault(call["index"], {"name": "", "arguments": ""})
                for key in known:
                    known[key] += call["function"].get(key) or ""
    said.calls = [(call["name"], json.loads(call["arguments"])) for call in calls.values()]
    return counted(said, usage)


def by_message(message):
    """An answer of Messages, or what its stream adds up to."""
    blocks = [block.to_dict() for block in message.content]
    calls = [(block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    usage = message.usage
    cached = usage.cache_read_input_tokens or 0
    return Said(
        "".join(block["text"] for block in blocks if block["type"] == "text"),
        "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        calls,
        ENDS[message.stop_reason],
        usage.input_tokens + cached + (usage.cache_creation_input_tokens or 0), cached, usage.output_tokens,
    )


def by_response(response):
    """An answer of Responses, or what its stream adds up to."""
    items = [item.to_dict() for item in response.output]
    calls = [(item["name"], json.loads(item["arguments"])) for item in items if item["type"] == "function_call"]
    thoughts = [part["text"] for item in items if item["type"] == "reasoning" for part in item.get("content") or []]
    said = Said(response.output_text, "".join(thoughts), calls)
    said.end = "tool_calls" if calls else {"completed": "stop", "incomplete": "length"}[response.status]
    usage = response.usage
    if usage:
        cached = usage.input_tokens_details.cached_tokens if usage.input_tokens_details else 0
        said.tokens_in, said.tokens_cached, said.tokens_out = usage.input_tokens, cached or 0, usage.output_tokens
    return said


def by_ollama(answer):
    """An answer of Ollama's chat, or the parts of its stream."""
    parts = answer if isinstance(answer, list) else [answer]
    calls = [(call.function.name, dict(call.function.arguments)) for part in parts for call in part.message.tool_calls or []]
    last = parts[-1]
    return Said(
        "".join(part.message.content or "" for part in parts), "".join(part.message.thinking or "" for part in parts),
        calls, "tool_calls" if calls else last.done_reason, last.prompt_eval_count, None, last.eval_count,
    )


def parts(content):
    """Text and thoughts of a content that may be a list, as Mistral's."""
    if not isinstance(content, list):
        return content or "", ""
    text = "".join(part["text"] for part in content if part["type"] == "text")
    thought = "".join(inner["text"] for part in content if part["type"] == "thinking" for inner in part["thinking"])
    return text, thought


def thinking(message):
    return message.get("reasoning_content") or message.get("reasoning") or ""


def counted(said, usage):
    if usage:
        details = usage.get("prompt_tokens_details") or {}
        said.tokens_in, said.tokens_out = usage["prompt_tokens"], usage["completion_tokens"]
        said.tokens_cached = details.get("cached_tokens") or 0
    return said


ENDS = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "stop_sequence": "stop", "refusal": "content_filter"}
