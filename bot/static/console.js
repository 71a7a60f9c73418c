"use strict";
// The console works without this file; it adds keys, the length counter and the live check.

const form = document.getElementById("approve");
if (form) {
  const text = form.querySelector("textarea");
  const count = document.getElementById("count");
  const review = document.getElementById("review");
  let timer = 0;

  const showLength = () => {
    // About 17 full-width letters fit on a line of LINE's bubble, about 22 lines on a phone's screen.
    const lines = text.value.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 17)), 0);
    count.textContent = `${text.value.length}文字(上限5,000)・スマートフォンで約${Math.ceil(lines / 22)}画面分`;
  };

  const showPlaces = () => {
    for (const button of review.querySelectorAll("button.place")) button.hidden = false;
  };

  const check = async () => {
    try {
      const answer = await fetch(form.dataset.check, { method: "POST", body: new FormData(form) });
      if (!answer.ok || answer.redirected) return;
      review.innerHTML = await answer.text();
      showPlaces();
    } catch {
      // Offline for a moment: the server checks again on approval.
    }
  };

  review.addEventListener("click", (event) => {
    const place = event.target.closest("button.place");
    if (!place) return;
    text.focus();
    text.setSelectionRange(Number(place.dataset.start), Number(place.dataset.end));
  });

  // The verbatim sentences are shown at once; the model's rewording arrives some seconds later. It is
  // offered, never swapped in: what a person is reading must not change under their eyes.
  let asks = form.dataset.origin === "template" ? 15 : 0;
  const offer = (reworded) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.textContent = "言い換えた文面に替える";
    button.addEventListener("click", () => {
      text.value = reworded;
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

  text.addEventListener("input", () => {
    showLength();
    clearTimeout(timer);
    timer = setTimeout(check, 500);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) form.requestSubmit();
  });
  showLength();
  showPlaces();
}

// One press, one decision: a second press of a slow page does nothing.
for (const one of document.querySelectorAll("form[method=post]")) {
  one.addEventListener("submit", (event) => {
    if (one.dataset.sent) event.preventDefault();
    one.dataset.sent = "1";
  });
}
window.addEventListener("pageshow", () => {
  for (const one of document.querySelectorAll("form[data-sent]")) delete one.dataset.sent;
});

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
  const ask = async () => {
    try {
      const answer = await fetch(alarms.dataset.url);
      if (!answer.ok || answer.redirected) return;
      const open = await answer.json();
      const ids = new Set(open.map((alarm) => alarm.id));
      const shown = new Set([...alarms.children].map((box) => box.dataset.id));
      for (const box of [...alarms.children]) if (!ids.has(box.dataset.id)) box.remove();
      for (const alarm of open) if (!shown.has(alarm.id)) showAlarm(alarm);
      document.title = open.length ? `【緊急${open.length}件】${title}` : title;
    } catch {
      // The next round asks again.
    }
  };
  setInterval(ask, 15000);
}
