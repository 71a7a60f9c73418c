"use strict";
// The citizen's chat: a signed token in the browser's own storage, live answers, nothing lost on a bad line.

const KEY = "madoguchi-chat";
const log = document.getElementById("log");
const state = document.getElementById("state");
const form = document.getElementById("say");
const text = document.getElementById("text");
const shown = new Map(); // client_id or id -> element
let token = null;
let last = 0;

const store = {
  get() { try { return localStorage.getItem(KEY); } catch { return null; } },
  set(value) { try { localStorage.setItem(KEY, value); } catch { /* private mode: the page remembers it alone */ } },
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const newId = () => (crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(16).slice(2, 12)}`);
const say = (words) => { state.textContent = words; state.hidden = !words; };

async function call(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` } });
  if (answer.status === 401) {
    await begin();
    say("会話の有効期限が切れたため、新しい会話を始めました。");
  }
  return answer;
}

async function begin() {
  const answer = await fetch("/chat/session", { method: "POST" });
  if (!answer.ok) throw new Error("no session");
  token = (await answer.json()).token;
  store.set(token);
  last = 0;
}

function bubble(from, words, at) {
  const p = document.createElement("div");
  p.className = `m ${from}`;
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = from === "city" ? "市役所: " : "あなた: ";
  const time = document.createElement("time");
  time.dateTime = at;
  time.textContent = new Date(at).toLocaleString("ja-JP", { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit" });
  p.append(who, document.createTextNode(words), time);
  log.append(p);
  log.scrollTop = log.scrollHeight;
  return p;
}

function show(message) {
  last = Math.max(last, message.seq);
  if (shown.has(message.id)) return;
  const own = message.client_id && shown.get(message.client_id);
  for (const old of log.querySelectorAll(".choices")) old.remove();
  const element = own || bubble(message.from, message.text || "(この発言は表示できません)", message.at);
  element.classList.remove("failed");
  shown.set(message.id, element);
  if (message.buttons.length) choices(message.buttons);
}

function choices(buttons) {
  const box = document.createElement("div");
  box.className = "choices";
  for (const { label, command } of buttons) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => { box.remove(); send({ client_id: newId(), command }, label); });
    box.append(button);
  }
  log.append(box);
  log.scrollTop = log.scrollHeight;
}

async function send(body, words) {
  const element = bubble("citizen", words, new Date().toISOString());
  shown.set(body.client_id, element);
  await deliver(body, element);
}

async function deliver(body, element) {
  for (const pause of [0, 1000, 3000]) {
    await sleep(pause);
    try {
      const answer = await call("/chat/messages", { method: "POST", body: JSON.stringify(body) });
      if (answer.ok) return;
      if (answer.status !== 401 && answer.status < 500) break;
    } catch { /* no line: the same client_id is tried again */ }
  }
  element.classList.add("failed");
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "送信できませんでした。もう一度送る";
  again.addEventListener("click", () => { again.remove(); element.classList.remove("failed"); deliver(body, element); });
  element.append(again);
}

function submit() {
  const words = text.value.trim();
  if (!words) return;
  text.value = "";
  send({ client_id: newId(), text: words }, words);
}

form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });

// Enter that confirms a kana-kanji conversion must not send. Safari ends the composition before its keydown,
// which then carries keyCode 229.
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});

async function listen() {
  for (let pause = 500; ; pause = Math.min(pause * 2, 15000)) {
    try {
      const answer = await call(`/chat/events?after=${last}`);
      if (!answer.ok) throw new Error(String(answer.status));
      say("");
      pause = 500;
      await read(answer.body.getReader());
    } catch { /* the line broke: below */ }
    say("接続が切れました。つなぎ直しています…");
    await sleep(pause);
  }
}

async function read(reader) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true }).replaceAll("\r\n", "\n");
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) show(JSON.parse(data));
    }
  }
}

async function start() {
  token = store.get();
  for (;;) {
    try {
      if (!token) await begin();
      const answer = await call("/chat/messages");
      if (answer.ok) (await answer.json()).messages.forEach(show);
      break;
    } catch {
      say("接続できません。つなぎ直しています…");
      await sleep(2000);
    }
  }
  listen();
}
start();
