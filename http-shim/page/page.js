"use strict";
// Asks /api/status again and again and shows it. What comes is only ever set as text.

const INTERVAL_MS = 2000;
const POINTS = 120;
const history = [];
let key = "";
let timer = 0;

const at = (id) => document.getElementById(id);
const say = (id, text) => { at(id).textContent = text; };

function amount(bytes) {
  if (!Number.isFinite(bytes)) return "-";
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${unit ? bytes.toFixed(bytes < 10 ? 2 : 1) : bytes} ${units[unit]}`;
}

function span(seconds) {
  if (!Number.isFinite(seconds)) return "never";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

async function ask(path, method = "GET") {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  return fetch(path, { method, headers, cache: "no-store", signal: AbortSignal.timeout(10000) });
}

function rows(id, make, items) {
  at(id).replaceChildren(...items.flatMap(make));
}

function cell(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

function trouble(state, words) {
  say("state", state);
  at("state").classList.add("bad");
  rows("reasons", (word) => [cell("li", word)], words);
}

function draw(line, pick, top) {
  const points = history.map((rates, i) => `${i + POINTS - history.length},${(39 - 38 * pick(rates) / top).toFixed(2)}`);
  at(line).setAttribute("points", points.join(" "));
}

function showRates(gateway) {
  const rates = gateway.rates ?? {};
  const [into, out] = [rates.admitted_bytes_per_second ?? 0, rates.served_bytes_per_second ?? 0];
  say("admitted", `${amount(into)}/s`);
  say("served", `${amount(out)}/s`);
  say("served-total", amount(gateway.bytes?.served));
  say("uptime", span(gateway.uptime_seconds));
  history.push([into, out]);
  if (history.length > POINTS) history.shift();
  const top = Math.max(1, ...history.flat());
  draw("line-in", (pair) => pair[0], top);
  draw("line-out", (pair) => pair[1], top);
  say("history-top", `top: ${amount(top)}/s`);
}

function show(gateway) {
  const buffer = gateway.buffer ?? {};
  say("fill-percent", `${buffer.fill_percent ?? 0} %`);
  at("fill").value = buffer.fill_percent ?? 0;
  say("fill-bytes", `${amount(buffer.fill_bytes)} of ${amount(buffer.capacity_bytes)}`);
  showRates(gateway);
  const health = gateway.health ?? {};
  say("health", health.state ?? "-");
  say("intermittent", health["intermittent-alarms"] ?? "-");
  say("permanent", health["permanent-alarms"] ?? "-");
  say("verified-age", gateway.last_verified_age_seconds == null ? "never" : `${span(gateway.last_verified_age_seconds)} ago`);
  rows("sources", (source) => {
    const row = document.createElement("tr");
    const told = [source.name, source.kind, source.health?.state ?? source.state ?? "-", `${span(source.age_seconds)} ago`];
    row.append(...told.map((text) => cell("td", text ?? "-")));
    return [row];
  }, gateway.sources ?? []);
  const packets = gateway.packets ?? {};
  const losses = [["lost on the way", packets.lost], ["dropped by the socket", packets.socket_drops],
    ["thrown away: buffer full", gateway.bytes?.overflow_discarded == null ? undefined : amount(gateway.bytes.overflow_discarded)]];
  const refused = Object.entries(gateway.rejected ?? {}).filter(([, count]) => count > 0);
  rows("rejects", ([name, count]) => [cell("dt", name), cell("dd", count ?? "-")], [...losses, ...refused]);
  say("state", gateway.state ?? "unknown");
  at("state").classList.toggle("bad", gateway.state !== "serving");
  rows("reasons", (reason) => [cell("li", reason)], gateway.reasons ?? []);
}

async function showSpecimen() {
  const answer = await ask("/api/specimen");
  if (answer.status !== 200) return;
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const context = at("specimen").getContext("2d");
  const picture = context.createImageData(128, 128);
  for (let bit = 0; bit < 128 * 128; bit += 1) {
    const dark = (bytes[bit >> 3] >> (7 - (bit & 7))) & 1;
    picture.data.set(dark ? [0, 0, 0, 255] : [255, 255, 255, 255], bit * 4);
  }
  context.putImageData(picture, 0, 0);
  at("specimen").dataset.shown = "yes";
}

async function look() {
  clearTimeout(timer);
  try {
    const answer = await ask("/api/status");
    at("ask-key").hidden = answer.status !== 401;
    if (answer.ok) {
      show((await answer.json()).gateway ?? {});
      await showSpecimen();
    } else {
      const problem = await answer.json().catch(() => ({}));
      trouble(problem.title ?? `status ${answer.status}`, problem.detail ? [problem.detail] : []);
    }
  } catch (error) {
    trouble("The service does not answer", [String(error.message ?? error)]);
  }
  say("asked", `asked at ${new Date().toLocaleTimeString()}`);
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, INTERVAL_MS);
}

at("ask-key").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  at("key").value = "";
  look();
});

at("test").addEventListener("click", async () => {
  at("test").disabled = true;
  try {
    const answer = await ask("/api/test/monte-carlo?bytes=65536&wait=5000", "POST");
    const told = await answer.json();
    say("verdict", answer.ok
      ? `${told.passed ? "passed" : "FAILED"}: pi as ${told.pi_estimate.toFixed(4)}, off by ${told.pi_error.toFixed(4)} (limit ${told.pi_error_limit.toFixed(4)}). `
        + "Bits that the test used up: they were never served, and never will be."
      : told.detail ?? told.title);
    await showSpecimen();
  } catch (error) {
    say("verdict", String(error.message ?? error));
  }
  at("test").disabled = false;
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
look();
