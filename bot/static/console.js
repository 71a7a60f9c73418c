"use strict";
// The console works without this file; it adds keys, the length counter and the live check.

// A finding's button leads to its place in the text that it belongs to; without this file it is not shown.
document.documentElement.classList.add("js");
document.addEventListener("click", (event) => {
  const place = event.target.closest("button.place");
  if (!place) return;
  const text = document.getElementById(place.dataset.in);
  text.focus();
  text.setSelectionRange(Number(place.dataset.start), Number(place.dataset.end));
});

// Enter on a box to tick would press the first button of its form, and send what nobody meant to send yet.
document.addEventListener("keydown", (event) => {
  const { type, form } = event.target;
  if (event.key === "Enter" && type === "checkbox" && form && form.method === "post") event.preventDefault();
});

// A part of the page that is checked anew while a person types: their ticks and the keyboard's place stay.
const renew = (part, html) => {
  const called = (one) => `${one.tagName} ${one.value || one.dataset.start || ""}`;
  const ticks = [...part.querySelectorAll("input:checked")].map((one) => one.value);
  const open = part.querySelector("details[open]");
  const at = part.contains(document.activeElement) && called(document.activeElement);
  part.innerHTML = html;
  for (const one of part.querySelectorAll("input")) one.checked = ticks.includes(one.value);
  if (open) part.querySelector("details")?.setAttribute("open", "");
  if (at) [...part.querySelectorAll("input, button, summary")].find((one) => called(one) === at)?.focus();
};

// What a person typed is not thrown away unasked.
const isTyped = (one) => "edited" in one.dataset || (!one.readOnly && one.value !== one.defaultValue);
const typedIn = () => [...document.querySelectorAll("textarea")].filter(isTyped);
let letGo = false;
const mayLose = (why) => (letGo = !typedIn().length || confirm(why));
// Links, the back button, a closed tab, and another form than the one that takes the text along.
window.addEventListener("beforeunload", (event) => {
  if (letGo || typedIn().every((one) => one.form && "sent" in one.form.dataset)) return;
  event.preventDefault();
  event.returnValue = "typed"; // older Chromium asks for this only
  setTimeout(nothingSent); // who stays may press again
});

const form = document.getElementById("approve");
if (form) {
  const text = form.querySelector("textarea");
  const count = document.getElementById("count");
  const review = document.getElementById("review");
  let timer = 0;
  let checks = 0;
  const keepsEdits = () => isTyped(text) && !confirm("文面に加えた変更は失われます。言い換えた文面に替えますか。");
  const take = (stored) => {
    text.value = text.defaultValue = stored;
    form.elements.seen.value = "model";
    delete text.dataset.edited;
    form.dispatchEvent(new Event("reworded"));
  };

  const showLength = () => {
    // About 17 full-width letters fit on a line of LINE's bubble, about 22 lines on a phone's screen.
    const lines = text.value.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 17)), 0);
    count.textContent = `${text.value.length}文字(上限5,000)・スマートフォンで約${Math.ceil(lines / 22)}画面分`;
  };

  const check = async () => {
    const mine = (checks += 1);
    try {
      const answer = await fetch(form.dataset.check, { method: "POST", body: new FormData(form) });
      if (!answer.ok || answer.redirected) return;
      const verdict = await answer.text();
      if (mine === checks) renew(review, verdict);
    } catch {
      // Offline for a moment: the server checks again on approval.
    }
  };

  // The verbatim sentences are shown at once; the model's rewording arrives some seconds later. It is
  // offered, never swapped in: what a person is reading must not change under their eyes.
  let asks = form.dataset.origin === "template" ? 15 : 0;
  const offer = (reworded) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "言い換えた文面に替える";
    button.addEventListener("click", () => {
      if (keepsEdits()) return;
      take(reworded);
      text.dispatchEvent(new Event("input"));
      button.remove();
    });
    text.before(button);
  };
  const askDraft = async () => {
    asks -= 1;
    try {
      const answer = await fetch(form.dataset.draft);
      const draft = answer.ok && !answer.redirected ? await answer.json() : { origin: "" };
      if (draft.origin === "model") {
        asks = 0;
        offer(draft.text);
      }
    } catch {
      // The next round asks again.
    }
    if (asks > 0) setTimeout(askDraft, 4000);
  };
  if (asks > 0) setTimeout(askDraft, 4000);

  // The model rewords before the person's eyes. Until the gate has accepted the whole, nothing may be sent.
  const reword = document.getElementById("reword");
  if (reword && window.AbortController && window.ReadableStream) {
    const [start, stop] = reword.querySelectorAll("button");
    const says = reword.querySelector("[role=status]");
    const send = form.querySelector("button.primary");
    reword.hidden = false;
    const busy = (on) => {
      start.hidden = on;
      stop.hidden = !on;
      text.readOnly = on;
      send.disabled = on;
    };
    const read = async (answer, hear) => {
      const reader = answer.body.getReader();
      const decoder = new TextDecoder();
      let rest = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
        rest = lines.pop();
        for (const line of lines) hear(JSON.parse(line));
      }
    };
    start.addEventListener("click", async () => {
      if (keepsEdits()) return;
      const before = text.value;
      const abort = new AbortController();
      let outcome = "途中で切れました。元の文面に戻しました。";
      let accepted = "";
      stop.onclick = () => abort.abort();
      busy(true);
      says.textContent = "AIが書いています。";
      try {
        const body = new FormData(form);
        const answer = await fetch(reword.dataset.url, { method: "POST", body, signal: abort.signal, headers: { Accept: "application/json" } });
        if (!answer.ok) outcome = (await answer.json().catch(() => ({}))).detail || "いまは言い換えられません。";
        else await read(answer, (piece) => {
          if (piece.state === "begin") text.value = piece.text;
          if (piece.state === "writing") text.value += piece.text;
          if (piece.state === "accepted") [accepted, outcome] = [piece.text, "言い換えました。点検を通った文面です。"];
          if (piece.state === "refused") outcome = `${piece.reason}。`;
        });
      } catch {
        if (abort.signal.aborted) outcome = "止めました。元の文面に戻しました。";
      }
      text.value = before;
      if (accepted) take(accepted);
      says.textContent = outcome;
      busy(false);
      text.dispatchEvent(new Event("input"));
    });
  }

  text.addEventListener("input", () => {
    showLength();
    clearTimeout(timer);
    timer = setTimeout(check, 500);
  });
  // Whatever key or button asks for it: a half-written text, or one that may only be read, does not leave.
  form.addEventListener("submit", (event) => {
    if (text.readOnly) event.preventDefault();
  });
  form.addEventListener("keydown", (event) => {
    const typing = event.target.matches("textarea, [type=checkbox]") && !event.isComposing;
    if (typing && event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  // Typed before this file was there, or put back by the browser after a reload: nobody has checked it yet.
  window.addEventListener("pageshow", () => {
    showLength();
    if (text.value !== text.defaultValue) check();
  });
}

// Looking for articles changes only the sources: what was typed beside them stays.
const sources = document.getElementById("sources");
if (sources) {
  const version = () => sources.querySelector("#choices [name=version]").value;
  const ticked = () => [...sources.querySelectorAll("#choices [name=passage]:checked")].map((one) => one.value);
  // The articles of what is ticked are laid out too: without a draft, nothing but this page knows of the ticks.
  const withTicked = (url) => {
    const whole = new URL(url, location.href);
    const articles = new Set(ticked().map((id) => id.slice(0, id.lastIndexOf("#"))));
    for (const one of whole.searchParams.getAll("article")) articles.delete(one);
    for (const one of articles) whole.searchParams.append("article", one);
    return whole.href;
  };
  const tickAgain = (ids) => {
    for (const one of sources.querySelectorAll("#choices [name=passage]")) {
      one.checked = ids.includes(one.value);
      if (one.checked) one.closest("details")?.setAttribute("open", "");
    }
  };
  let newest = "";
  const look = async (wanted) => {
    const url = (newest = withTicked(wanted));
    const answer = await fetch(url).catch(() => null);
    if (newest !== url) return;
    const page = answer && answer.ok && !answer.redirected && new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page && page.getElementById("sources");
    const seen = version();
    if (found && found.querySelector(`#choices [name=version][value="${seen}"]`)) {
      const ids = ticked();
      sources.innerHTML = found.innerHTML;
      tickAgain(ids);
      history.replaceState(null, "", url);
      (sources.querySelector("a.found") || document.getElementById("words")).focus();
    } else if (mayLose("案件が更新されたか、通信ができません。画面を開き直すと、入力中の文面は失われます。開き直しますか。")) location.assign(url);
  };
  sources.addEventListener("submit", (event) => {
    if (event.target.method !== "get") return;
    event.preventDefault();
    look(`${event.target.action}?${new URLSearchParams(new FormData(event.target))}`);
  });
  sources.addEventListener("click", (event) => {
    const link = event.target.closest("a.found");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    look(link.href);
  });
  // A changed tick makes the draft anew at once; where there is no draft yet, the button does.
  sources.addEventListener("change", (event) => {
    const choices = event.target.closest("#choices");
    if (!choices || !form) return;
    const free = !form.querySelector("textarea").readOnly && choices.querySelector("input:checked");
    if (free && mayLose("文面に加えた変更は失われます。選んだ文で下書きを作り直しますか。")) {
      remember({ form: choices.action, tick: event.target.value });
      choices.requestSubmit();
    } else event.target.checked = !event.target.checked;
  });
  // Then the page comes anew, and the keyboard goes on at the same tick. A refusal's reason is read first.
  const remember = (place) => {
    try { sessionStorage.setItem("ticked", JSON.stringify(place)); } catch { /* forbidden: it begins at the top */ }
  };
  const remembered = () => {
    try {
      const place = JSON.parse(sessionStorage.getItem("ticked"));
      sessionStorage.removeItem("ticked");
      return place;
    } catch { return null; }
  };
  const last = remembered();
  const choices = document.getElementById("choices");
  if (last && choices?.action === last.form && !document.querySelector(".error[autofocus]")) {
    const tick = [...choices.querySelectorAll("[name=passage]")].find((one) => one.value === last.tick);
    tick?.closest("details")?.setAttribute("open", "");
    (tick || document.getElementById("words")).focus();
  }
  sources.addEventListener("submit", (event) => {
    if (event.target.id === "choices" && !form && !mayLose("入力中の文面は失われます。選んだ文で下書きを作りますか。")) event.preventDefault();
  });
}

// A draft that is being prepared: show it as soon as it is there.
const drafting = document.querySelector("[data-drafting]");
if (drafting) {
  let tries = 60;
  const show = () => {
    if (typedIn().length) drafting.firstChild.textContent = "下書きができました。画面を更新すると、入力中の文面は失われます。";
    else location.replace(drafting.querySelector("a").href);
  };
  const look = async () => {
    try {
      const answer = await fetch(drafting.dataset.drafting);
      if (answer.ok && !answer.redirected && (await answer.json()).origin) return show();
    } catch {
      // The next round asks again.
    }
    tries -= 1;
    if (tries > 0) setTimeout(look, 1000);
  };
  setTimeout(look, 700);
}

// One press, one decision: a second press of a slow page does nothing.
document.addEventListener("submit", (event) => {
  const one = event.target;
  if (one.method !== "post") return;
  if (one.dataset.sent) event.preventDefault();
  if (!event.defaultPrevented) one.dataset.sent = "1";
});
const nothingSent = () => {
  for (const one of document.querySelectorAll("form[data-sent]")) delete one.dataset.sent;
};
window.addEventListener("pageshow", nothingSent);

const rows = [...document.querySelectorAll("a.row")];
if (rows.length) {
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey) return;
    const step = { j: 1, k: -1 }[event.key];
    if (!step) return;
    const at = rows.indexOf(document.activeElement);
    rows[Math.max(0, Math.min(rows.length - 1, at + step))].focus();
  });
}

// An emergency must reach people on whatever page they are: ask again and again, add what is new.
const alarms = document.getElementById("alarms");
if (alarms) {
  const title = document.title;
  const escalation = (alarm) => {
    const told = document.createElement("strong");
    told.className = "escalated";
    told.textContent = alarm.escalated;
    return told;
  };
  const showAlarm = (alarm) => {
    const box = document.createElement("div");
    box.className = "alarm";
    box.setAttribute("role", "alert");
    box.dataset.id = alarm.id;
    const strong = document.createElement("strong");
    strong.textContent = "緊急の可能性";
    const link = document.createElement("a");
    link.href = `/desk/cases/${alarm.id}`;
    link.textContent = "内容を確認する";
    box.append(strong, ` 受付番号 ${alarm.receipt_number}(${alarm.since} 受付) `, link);
    alarms.append(box);
  };
  const signedOut = (isSo) => {
    const shown = document.getElementById("signed-out");
    if (!isSo) return shown?.remove();
    if (shown) return;
    const box = document.createElement("div");
    box.id = "signed-out";
    box.className = "alarm";
    box.setAttribute("role", "alert");
    const link = document.createElement("a");
    link.href = "/desk/login";
    link.textContent = "ログインし直す";
    box.append("ログインの有効時間が切れました。緊急の知らせは、この画面には届きません。入力中の文面は、先に写しておいてください。 ", link);
    alarms.before(box);
  };
  const ask = async () => {
    try {
      const answer = await fetch(alarms.dataset.url);
      signedOut(answer.redirected);
      if (!answer.ok || answer.redirected) return;
      const open = await answer.json();
      const ids = new Set(open.map((alarm) => alarm.id));
      const shown = new Set([...alarms.children].map((box) => box.dataset.id));
      for (const box of [...alarms.children]) if (!ids.has(box.dataset.id)) box.remove();
      for (const alarm of open) {
        if (!shown.has(alarm.id)) showAlarm(alarm);
        const box = [...alarms.children].find((one) => one.dataset.id === alarm.id);
        if (alarm.escalated && !box.querySelector(".escalated")) box.append(" ", escalation(alarm));
      }
      document.title = open.length ? `【緊急${open.length}件】${title}` : title;
    } catch {
      // The next round asks again.
    }
  };
  setInterval(ask, 15000);
}
