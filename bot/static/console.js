"use strict";
// The console works without this file; it adds keys, the length counter and the live check.

const form = document.getElementById("approve");
if (form) {
  const text = form.querySelector("textarea");
  const count = document.getElementById("count");
  const findings = document.getElementById("findings");
  const confirmBox = document.getElementById("confirm-box");
  let timer = 0;

  const showLength = () => {
    const lines = text.value.split("\n").length;
    count.textContent = `${text.value.length}文字(上限5,000)・${lines}行`;
  };

  const showFindings = (list) => {
    const ul = document.createElement("ul");
    ul.className = "findings";
    for (const finding of list) {
      const li = document.createElement("li");
      li.className = finding.hard ? "hard" : "soft";
      li.textContent = finding.message_ja;
      ul.append(li);
    }
    findings.replaceChildren(...(list.length ? [ul] : []));
    if (confirmBox) confirmBox.hidden = !list.some((f) => f.hard);
  };

  const check = async () => {
    try {
      const answer = await fetch(form.dataset.check, { method: "POST", body: new FormData(form) });
      if (answer.ok) showFindings((await answer.json()).findings);
    } catch {
      // Offline for a moment: the server checks again on approval.
    }
  };

  text.addEventListener("input", () => {
    showLength();
    clearTimeout(timer);
    timer = setTimeout(check, 500);
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) form.requestSubmit();
  });
  showLength();
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
