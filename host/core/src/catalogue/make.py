#!/usr/bin/env python3
"""Makes models.tsv, the embedded catalogue, out of LiteLLM's public list of models.

    python3 make.py model_prices_and_context_window.json YYYY-MM > models.tsv

The list is https://github.com/BerriAI/litellm/blob/main/model_prices_and_context_window.json (MIT licence); gzip is
read too. Kept is what OpenAI's or Anthropic's dialect can reach; the rest of this file says what is mended and why.
What is kept and what is dropped goes to standard error.
"""

import gzip
import json
import sys

# LiteLLM's name of a provider, and the catalogue's.
PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "dashscope": "dashscope",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "fireworks_ai": "fireworks",
    "gemini": "gemini",
    "groq": "groq",
    "mistral": "mistral",
    "moonshot": "moonshot",
    "nebius": "nebius",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "sambanova": "sambanova",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "voyage": "voyage",
    "xai": "xai",
    "zai": "zai",
}
FLAGS = {"t": "supports_function_calling", "v": "supports_vision", "j": "supports_response_schema",
         "r": "supports_reasoning"}
MILLION = 1e6


def name_of(key, provider):
    """The model's name at the provider, in small letters, after the catalogue's name of the provider."""
    prefix, _, rest = key.partition("/")
    model = rest if prefix in PROVIDERS and rest else key
    return f"{provider}/{model.lower()}"


def abilities(entry, provider, model):
    """`+` what it can do, `-` what it cannot; what is in neither is not known."""
    mode = entry["mode"]
    if mode == "embedding":
        return "e", "cmtvjra"
    can, cannot = set(), set()
    for letter, key in FLAGS.items():
        if key in entry:
            (can if entry[key] else cannot).add(letter)
    if mode == "completion":
        return join({"m"} | can), join({"c", "e", "t", "v", "a"} | cannot)
    if "audio" in model or "realtime" in model:
        can.add("a")
    cannot.add("e")
    if provider == "openai":
        # OpenAI's own list is kept whole, so that silence is a no; not of fine-tuned models.
        if not model.startswith("ft:"):
            cannot |= {"t", "v", "j"} - can
        cannot.add("m")
        if mode == "responses":
            cannot.add("c")
    if "c" not in cannot and mode == "chat":
        can.add("c")
    return join(can), join(cannot)


def join(letters):
    return "".join(letter for letter in "cmetvjra" if letter in letters)


def window(entry):
    """The whole window. Where OpenAI says how much of GPT-5's 400,000 tokens the prompt may take, the sum."""
    longest, output = entry.get("max_input_tokens"), entry.get("max_output_tokens")
    if {longest, output} == {272000, 128000}:
        return 400000, 128000
    return longest, output


def prices(entry):
    """USD for a million tokens, in the order of the columns; trailing ones that say nothing are left out."""
    def usd(key):
        value = entry.get(key)
        return None if value is None else f"{round(value * MILLION, 6):.6f}".rstrip("0").rstrip(".")

    long_from, suffix = next(((kilo * 1000, f"_above_{kilo}k_tokens") for kilo in (128, 200)
                              if f"input_cost_per_token_above_{kilo}k_tokens" in entry), (None, ""))
    reasoning = usd("output_cost_per_reasoning_token")
    written = usd("cache_creation_input_token_cost")
    row = [
        usd("input_cost_per_token"),
        usd("output_cost_per_token"),
        usd("cache_read_input_token_cost"),
        written if written != "0" else None,
        reasoning if reasoning != usd("output_cost_per_token") else None,
    ]
    if long_from:
        row += [str(long_from), usd(f"input_cost_per_token{suffix}"), usd(f"output_cost_per_token{suffix}")]
    while row and row[-1] is None:
        row.pop()
    return [value or "" for value in row]


def wrong(name, entry):
    """Rows that cannot be: without a name, or a model for chat that is said to embed."""
    chats = ("flash", "gpt-4", "claude", "instruct-turbo")
    return name.endswith("/") or (entry["mode"] == "embedding" and any(word in name for word in chats))


def main():
    source, date = sys.argv[1:]
    opened = gzip.open(source) if source.endswith(".gz") else open(source, "rb")
    with opened as file:
        models = json.load(file)
    rows, dropped = {}, []
    for key, entry in models.items():
        if not isinstance(entry, dict):
            continue
        provider = PROVIDERS.get(entry.get("litellm_provider"))
        known = entry.get("mode") in ("chat", "completion", "embedding", "responses")
        if provider is None or not known or "input_cost_per_token" not in entry:
            continue
        name = name_of(key, provider)
        if wrong(name, entry) or any(space in name for space in " \t\n"):
            dropped.append(name)
            continue
        context, output = window(entry)
        can, cannot = abilities(entry, provider, name.partition("/")[2])
        flags = (f"+{can}" if can else "") + (f"-{cannot}" if cannot else "")
        row = [name, str(context or ""), str(output or ""), flags, *prices(entry)]
        rows[name] = "\t".join(row)
    print(f"# Prices, limits and abilities of models, as of {date}. Made by make.py out of LiteLLM's")
    print("# model_prices_and_context_window.json (MIT licence, https://github.com/BerriAI/litellm). Sorted by bytes.")
    print("# name\tcontext\toutput\tabilities\tUSD per million tokens: in\tout\tcached\tcache write\treasoning"
          "\tlong prompts: above\tin\tout")
    print("# abilities: c chat, m completions, e embeddings, t tools, v vision, j json-schema, r reasoning, a audio")
    for name in sorted(rows, key=lambda name: name.encode()):
        print(rows[name])
    print(f"{len(rows)} models; dropped: {', '.join(dropped) or 'none'}", file=sys.stderr)


main()
