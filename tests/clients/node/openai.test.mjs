// OpenAI's official client for Node, against a gateway whose address and answers the environment names.
import assert from "node:assert/strict";
import test from "node:test";

import OpenAI from "openai";

const { WITGATE_URL, ANSWER } = process.env;
const client = new OpenAI({ baseURL: `${WITGATE_URL}/v1`, apiKey: "unused", maxRetries: 0, timeout: 30_000 });
const ASKED = "What is the weather in Paris?";
const messages = [{ role: "user", content: ASKED }];
const weather = {
  name: "get_weather",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const words = ANSWER.split(" ").length;

test("a chat", async () => {
  const answer = await client.chat.completions.create({ model: "tiny", messages, temperature: 0 });
  assert.equal(answer.choices[0].message.content, ANSWER);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.completion_tokens, words + 1);
  assert.ok(answer._request_id);
});

test("a streamed chat with its usage", async () => {
  const stream = await client.chat.completions.create({
    model: "tiny", messages, temperature: 0, stream: true, stream_options: { include_usage: true },
  });
  const pieces = [];
  let usage;
  for await (const chunk of stream) {
    pieces.push(chunk.choices[0]?.delta?.content ?? "");
    usage = chunk.usage ?? usage;
  }
  assert.equal(pieces.join(""), ANSWER);
  assert.ok(pieces.filter((piece) => piece).length > 1);
  assert.equal(usage.completion_tokens, words + 1);
});

test("a tool is called and its result is answered", async () => {
  const tools = [{ type: "function", function: weather }];
  const { choices: [{ message, finish_reason }] } =
    await client.chat.completions.create({ model: "tiny", messages, temperature: 0, tools });
  assert.equal(finish_reason, "tool_calls");
  const [call] = message.tool_calls;
  assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["get_weather", { city: "Paris" }]);
  const told = [...messages, message, { role: "tool", tool_call_id: call.id, content: "rain" }];
  const answer = await client.chat.completions.create({ model: "tiny", messages: told, temperature: 0, tools });
  assert.equal(answer.choices[0].message.content, ANSWER);
});

test("a streamed tool call is put together", async () => {
  const tools = [{ type: "function", function: weather }];
  const stream = client.chat.completions.stream({ model: "tiny", messages, temperature: 0, tools });
  const message = await stream.finalMessage();
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { city: "Paris" });
});

for (const model of ["passed", "translated"]) {
  test(`a response, ${model}`, async () => {
    const response = await client.responses.create({ model, input: ASKED, temperature: 0 });
    assert.equal(response.output_text, ANSWER);
    assert.equal(response.status, "completed");
  });

  test(`the events of a response, ${model}`, async () => {
    const events = [];
    for await (const event of await client.responses.create({ model, input: ASKED, temperature: 0, stream: true })) {
      events.push(event);
    }
    const pieces = events.filter((event) => event.type === "response.output_text.delta");
    assert.equal(pieces.map((event) => event.delta).join(""), ANSWER);
    assert.ok(pieces.length > 1);
    const last = events.at(-1);
    assert.equal(last.type, "response.completed");
    assert.equal(last.response.usage.output_tokens, words + 1);
  });
}

// llama.cpp's own events leave out `output_index`, which this helper needs.
test("a streamed response is put together", async () => {
  const stream = client.responses.stream({ model: "translated", input: ASKED, temperature: 0 });
  const response = await stream.finalResponse();
  assert.equal(response.output_text, ANSWER);
  assert.equal(response.usage.output_tokens, words + 1);
});

test("a tool call in a streamed response is put together", async () => {
  const tools = [{ type: "function", strict: false, ...weather }];
  const asked = { model: "translated", input: ASKED, temperature: 0, tools };
  const response = await client.responses.stream(asked).finalResponse();
  const [call] = response.output.filter((item) => item.type === "function_call");
  assert.deepEqual([call.name, JSON.parse(call.arguments)], ["get_weather", { city: "Paris" }]);
});

test("embeddings, which this client asks for as base64 and decodes", async () => {
  const plain = await client.embeddings.create({ model: "embed", input: "fox", encoding_format: "float" });
  const answer = await client.embeddings.create({ model: "embed", input: "fox" });
  assert.equal(answer.data[0].embedding.length, 128);
  answer.data[0].embedding.forEach((value, place) => {
    assert.ok(Math.abs(value - plain.data[0].embedding[place]) < 1e-6, `${place}`);
  });
});

test("models", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes("tiny") && names.includes("embed"), `${names}`);
  assert.equal((await client.models.retrieve("team/tiny")).id, "team/tiny");
});

test("errors are the client's own", async () => {
  const unknown = client.chat.completions.create({ model: "no-such-model", messages });
  await assert.rejects(unknown, (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.code, error.param, error.type], ["model_not_found", "model", "invalid_request_error"]);
    assert.ok(error.requestID);
    return true;
  });
  const long = [{ role: "user", content: "Zq".repeat(3000) }];
  for (const stream of [false, true]) {
    const refused = client.chat.completions.create({ model: "team/tiny", messages: long, stream });
    await assert.rejects(refused, (error) => error instanceof OpenAI.BadRequestError);
  }
});

test("a stream that the reader leaves ends", async () => {
  const stream = await client.chat.completions.create({ model: "tiny", messages, stream: true });
  for await (const _ of stream) break;
  assert.ok(stream.controller.signal.aborted);
});
