"use strict";
// The citizen's chat: a signed token in the browser's own storage, live answers, nothing lost on a bad line.

const KEY = "madoguchi-chat";
const ENDED = "#ended";
const MAX_CHARACTERS = 5000;
const POST_MS = 20000;
const SILENCE_MS = 40000; // the server pings every 15 s, so a longer silence is a dead line
const log = document.getElementById("log");
const state = document.getElementById("state");
const form = document.getElementById("say");
const text = document.getElementById("text");
const length = document.getElementById("length");
const end = document.getElementById("end");
const shown = new Map(); // client_id or id -> element
let token = null;
let last = 0;
let renewing = null;
let stream = null;

const store = {
  get() { try { return localStorage.getItem(KEY); } catch { return null; } },
  set(value) { try { localStorage.setItem(KEY, value); } catch { /* private mode: the page remembers it alone */ } },
  forget() { try { localStorage.removeItem(KEY); } catch { /* as above */ } },
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const newId = () => (crypto.randomUUID ? crypto.randomUUID() : `${Date.now()}-${Math.random().toString(16).slice(2, 12)}`);
// AbortSignal.timeout is missing on iOS 15 and in Chromium before 103; an old phone must get through too.
const atMost = (ms) => {
  const abort = new AbortController();
  setTimeout(() => abort.abort(), ms);
  return abort.signal;
};
const say = (words) => { state.textContent = words; state.hidden = !words; };

async function call(path, options = {}) {
  if (!token) await renew(null);
  const used = token;
  const answer = await fetch(path, { ...options, headers: { "Content-Type": "application/json", Authorization: `Bearer ${used}` } });
  if (answer.status === 401) await renew(used);
  return answer;
}

// Two calls refused at once must not open two conversations; nor must two tabs.
function renew(refused) {
  if (token !== refused) return Promise.resolve();
  renewing = renewing || replaceToken(refused).finally(() => { renewing = null; });
  return renewing;
}

async function replaceToken(refused) {
  const other = store.get();
  if (other && other !== refused) [token, last] = [other, 0];
  else await begin(refused);
  if (!refused) return;
  notice("会話の有効期限が切れたため、新しい会話を始めました。前の会話のお返事は、この画面に出ません。お返事を待っている方は、もう一度ご用件を送ってください。");
  stream?.abort(); // it still follows the old conversation
}

function notice(words) {
  for (const old of log.querySelectorAll(".choices")) old.remove();
  const p = document.createElement("p");
  p.className = "notice";
  p.textContent = words;
  log.append(p);
  log.scrollTop = log.scrollHeight;
}

async function begin(refused) {
  const answer = await fetch("/chat/session", { method: "POST" });
  if (!answer.ok) throw new Error("no session");
  const issued = (await answer.json()).token;
  const other = store.get(); // of a tab that was quicker
  token = other && other !== refused ? other : issued;
  store.set(token);
  last = 0;
}

// Readings above the kanji of やさしい日本語; the text itself holds them in brackets.
function ruby(pieces) {
  return pieces.map(([surface, reading]) => {
    if (!reading) return document.createTextNode(surface);
    const element = document.createElement("ruby");
    const parts = [["rp", "("], ["rt", reading], ["rp", ")"]].map(([tag, words]) => {
      const part = document.createElement(tag);
      part.textContent = words;
      return part;
    });
    element.append(surface, ...parts);
    return element;
  });
}

function bubble(from, words, at, pieces = []) {
  const p = document.createElement("div");
  p.className = `m ${from}`;
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = from === "city" ? "市役所: " : "あなた: ";
  const time = document.createElement("time");
  time.dateTime = at;
  time.textContent = new Date(at).toLocaleString("ja-JP", { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "Asia/Tokyo" });
  p.append(who, ...(pieces.length ? ruby(pieces) : [document.createTextNode(words)]), time);
  end.hidden = false;
  const follow = from === "citizen" || log.hasAttribute("aria-busy") || atEnd();
  log.append(p);
  if (follow) bringIntoView(p);
  return p;
}

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;

// A long answer is read from its first line; whoever reads further up is left there.
function bringIntoView(element) {
  if (element.offsetHeight > log.clientHeight) log.scrollTop += element.getBoundingClientRect().top - log.getBoundingClientRect().top - 8;
  else log.scrollTop = log.scrollHeight;
}

function show(message) {
  last = Math.max(last, message.seq);
  if (shown.has(message.id)) return;
  const own = message.client_id && shown.get(message.client_id);
  for (const old of log.querySelectorAll(".choices")) old.remove();
  const element = own || bubble(message.from, message.text || "(この発言は表示できません)", message.at, message.ruby);
  settle(element);
  shown.set(message.id, element);
  if (message.buttons.length) choices(message.buttons);
}

function choices(buttons) {
  const box = document.createElement("div");
  box.className = "choices";
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "選択肢");
  for (const { label, command } of buttons) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", (event) => { box.remove(); keepFocus(event); send({ client_id: newId(), command }, label); });
    box.append(button);
  }
  const follow = atEnd();
  log.append(box);
  if (follow) log.scrollTop = log.scrollHeight;
}

// The pressed button is gone: the keyboard's user goes on in the box; a finger must not raise the soft keyboard.
function keepFocus(event) {
  if (event.detail === 0) text.focus();
}

function settle(element) {
  element.classList.remove("failed", "sending");
  element.querySelector("button")?.remove();
}

async function send(body, words) {
  const element = bubble("citizen", words, new Date().toISOString());
  shown.set(body.client_id, element);
  await deliver(body, element);
}

async function deliver(body, element) {
  element.classList.add("sending");
  const sent = await tryThrice(body);
  element.classList.remove("sending");
  if (!sent && !arrived(element)) offerAgain(body, element);
}

async function tryThrice(body) {
  for (const pause of [0, 1000, 3000]) {
    await sleep(pause);
    try {
      const options = { method: "POST", body: JSON.stringify(body), signal: atMost(POST_MS) };
      const answer = await call("/chat/messages", options);
      if (answer.ok) return true;
      if (answer.status !== 401 && answer.status < 500) return false;
    } catch { /* no line: the same client_id is tried again */ }
  }
  return false;
}

// The answer to the post may be lost although the message came: then the stream has shown it.
const arrived = (element) => [...shown.values()].filter((one) => one === element).length > 1;

function offerAgain(body, element) {
  element.classList.add("failed");
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "送信できませんでした。もう一度送る";
  again.addEventListener("click", (event) => { settle(element); keepFocus(event); deliver(body, element); });
  element.append(again);
  log.scrollTop = log.scrollHeight;
}

function submit() {
  const words = text.value.trim();
  if (!words || showLength() < 0) return;
  text.value = "";
  send({ client_id: newId(), text: words }, words);
}

// Counted as the server counts. No maxlength: it would cut a pasted text without a word.
function showLength() {
  const left = MAX_CHARACTERS - [...text.value.trim()].length;
  if (left < 0) length.textContent = `一度に送れるのは5,000文字までです。あと${-left}文字減らしてください。`;
  else length.textContent = left <= 200 ? `あと${left}文字` : "";
  text.setAttribute("aria-invalid", String(left < 0));
  return left;
}

text.addEventListener("input", showLength);
form.addEventListener("submit", (event) => { event.preventDefault(); submit(); });

// Enter that confirms a kana-kanji conversion must not send. Safari ends the composition before its keydown,
// which then carries keyCode 229.
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});

// In the widget's frame the page around it cannot hear this key.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || event.keyCode === 229 || window.parent === window) return;
  window.parent.postMessage("madoguchi:close", "*"); // tells only that the key was pressed
});

// In the widget's frame a browser shows no confirm().
function askToEnd() {
  const box = document.createElement("section");
  box.className = "ask";
  box.setAttribute("role", "alertdialog");
  box.setAttribute("aria-labelledby", "ask-title");
  box.setAttribute("aria-describedby", "ask-more");
  const title = Object.assign(document.createElement("h2"), { id: "ask-title", textContent: "この端末での相談を終えますか。" });
  const more = Object.assign(document.createElement("p"), {
    id: "ask-more",
    textContent: "これまでのやり取りは、この端末では見られなくなります。受け付けた用件は取り消されず、職員が対応しますが、お返事もこの端末では読めなくなります。"
      + `お返事を待っている方は、受付番号を控えてください。お電話(${document.body.dataset.phone})で、受付番号を伝えてお問い合わせいただけます。`,
  });
  const stay = Object.assign(document.createElement("button"), { type: "button", textContent: "相談を続ける" });
  const leave = Object.assign(document.createElement("button"), { type: "button", textContent: "相談を終える" });
  const close = () => { box.remove(); end.disabled = false; end.focus(); };
  stay.addEventListener("click", close);
  leave.addEventListener("click", () => { store.forget(); startAnew(); });
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation(); // it would close the widget
    close();
  });
  box.append(title, more, stay, leave);
  state.after(box);
  end.disabled = true;
  stay.focus();
}

// The page is loaded again, so that nothing under way reaches the new conversation.
function startAnew() {
  form.reset(); // a browser keeps half-written words over a reload
  history.replaceState(null, "", ENDED);
  location.reload();
}

function tellOfEnd() {
  if (location.hash !== ENDED) return;
  history.replaceState(null, "", location.pathname + location.search);
  notice("この端末での相談を終えました。これまでのやり取りは、この端末には出ません。新しいご用件は、下の欄に書いて送ってください。");
}

end.addEventListener("click", askToEnd);
// Ended in another tab.
addEventListener("storage", (event) => { if ([KEY, null].includes(event.key) && event.newValue === null) startAnew(); });

async function listen() {
  for (let pause = 500; ; pause = Math.min(pause * 2, 15000)) {
    const used = token;
    stream = new AbortController();
    const alarm = setTimeout(() => stream.abort(), POST_MS);
    try {
      const answer = await call(`/chat/events?after=${last}`, { signal: stream.signal });
      clearTimeout(alarm);
      if (!answer.ok) throw new Error(String(answer.status));
      say("");
      pause = 500;
      await read(answer.body.getReader(), stream);
    } catch { /* the line broke: below */ }
    clearTimeout(alarm);
    if (token === used) say("接続が切れました。つなぎ直しています…");
    await lineOrPause(pause);
  }
}

// The phone knows when it is back on the net: no need to sit out the pause.
const lineOrPause = (ms) => Promise.race([sleep(ms), new Promise((done) => addEventListener("online", done, { once: true }))]);

async function read(reader, used) {
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const alarm = setTimeout(() => used.abort(), SILENCE_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(alarm));
    if (used.signal.aborted) return; // nothing of an old conversation may count for the new one
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
  log.setAttribute("aria-busy", "true"); // the history is not read out as news
  for (let pause = 500; ; pause = Math.min(pause * 2, 15000)) {
    try {
      const answer = await call("/chat/messages?after=0", { signal: atMost(POST_MS) });
      if (answer.ok) (await answer.json()).messages.forEach(show);
      if (answer.ok || answer.status === 401) break;
    } catch { /* no line yet */ }
    say("接続できません。つなぎ直しています…");
    await lineOrPause(pause);
  }
  say("");
  log.removeAttribute("aria-busy");
  tellOfEnd();
  listen();
}
start();
