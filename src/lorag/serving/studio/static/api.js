// What the page asks of its server. Every failure is an Error whose message can be shown.

async function answer(response) {
  const text = await response.text();
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error(`The server answered with status ${response.status}.`);
  }
  if (!response.ok) {
    const said = value?.error?.message ?? `The server answered with status ${response.status}.`;
    throw Object.assign(new Error(said[0].toUpperCase() + said.slice(1)), { status: response.status });
  }
  return value;
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is `lorag studio` still running?");
  }
  return response;
}

function address(path, query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return `/studio/${path}${text && `?${text}`}`;
}

function json(method, body, signal) {
  return { method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, signal };
}

export async function get(path, query) {
  return answer(await send(address(path, query)));
}

export async function post(path, body = {}) {
  return answer(await send(address(path), json("POST", body)));
}

/** Stores a file under its name, among the documents or the files of rows ("data/files"). */
export async function upload(file, place = "documents") {
  const options = { method: "PUT", body: file, headers: { "Content-Type": "application/octet-stream" } };
  const path = address(`${place}/${encodeURIComponent(file.name)}`);
  const response = await send(path, options).catch(async (error) => {
    await requireReadable(file);
    throw error;
  });
  return answer(response);
}

/** A browser that cannot read a file fails as if there were no server. */
async function requireReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Error("This is a folder, or a file that changed after you chose it. Choose the files again.");
  }
}

export async function remove(name) {
  return answer(await send(address(`documents/${encodeURIComponent(name)}`), { method: "DELETE" }));
}

/** The address of a run's report, to be opened by the browser. */
export function reportAddress(run) {
  return address("run/report", { run });
}

/**
 * An answer as it is made: `piece` is called with each part of the text. Returns the sources, and how it ended.
 */
export async function ask(column, { adapter, messages }, piece, signal) {
  const body = { model: column, messages, stream: true, stream_options: { include_usage: true } };
  const response = await send(address(`ask/${column}`, { adapter }), json("POST", body, signal));
  if (!response.ok) return answer(response);
  const done = { sources: [], finish: null, tokens: null };
  for await (const value of events(response.body)) {
    if (value.error) throw new Error(value.error.message);
    const [choice] = value.choices;
    if (choice?.delta.content) piece(choice.delta.content);
    if (choice?.delta.sources) done.sources = choice.delta.sources;
    if (choice?.finish_reason) done.finish = choice.finish_reason;
    if (value.usage) done.tokens = value.usage.completion_tokens;
  }
  return done;
}

/** The values of server-sent events, up to the mark of their end. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The answer stopped early. Is `lorag studio` still running?");
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      yield event;
      if (event.error) return;
    }
  }
}
