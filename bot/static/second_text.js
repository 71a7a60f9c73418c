"use strict";
// The second text on the case's screen: made and checked without leaving the page. Without this file its buttons
// load the page anew.

const secondForm = document.getElementById("approve");
if (secondForm) {
  const box = document.getElementById("second");
  let timer = 0;
  let checks = 0;

  const post = async (url, want) => {
    const data = new FormData(secondForm);
    if (want !== undefined) data.append("want", want);
    const answer = await fetch(url, { method: "POST", body: data });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  const isTypedInto = (text) => "edited" in text.dataset || text.value !== text.defaultValue;

  const make = async (button, leads) => {
    const state = document.getElementById("second-state");
    state.textContent = button.dataset.slow === undefined ? "作成しています…" : "訳しています。1分ほどかかることがあります…";
    for (const one of box.querySelectorAll("button")) one.disabled = true;
    try {
      const made = await post(button.getAttribute("formaction"), button.value);
      box.replaceChildren(...made.getElementById("second").childNodes);
      // A check that is on its way, or was asked for meanwhile, is of the text that was here before.
      checks += 1;
      clearTimeout(timer);
      timer = setTimeout(check, 500);
      const error = made.querySelector(".error");
      if (error) document.getElementById("second-state").textContent = error.textContent;
      if (leads) box.querySelector("textarea, button")?.focus();
    } catch {
      state.textContent = "作成できませんでした。もう一度押すか、画面を更新してください。";
      for (const one of box.querySelectorAll("button")) one.disabled = false;
    }
  };

  const check = async () => {
    const findings = document.getElementById("second-findings");
    if (!findings) return;
    const mine = (checks += 1);
    try {
      const checked = await post(box.dataset.check);
      if (mine === checks) renew(findings, checked.body.innerHTML);
    } catch {
      // Offline for a moment: the server checks again on approval.
    }
  };

  box.addEventListener("click", (event) => {
    const button = event.target.closest("button[formaction]");
    if (!button) return;
    event.preventDefault();
    const text = box.querySelector("textarea");
    if (text && isTypedInto(text) && !confirm("この文に加えた変更は失われます。よろしいですか。")) return;
    make(button, true);
  });
  // A rewording that a person takes is another text: what rules made of the one before is made anew with it.
  secondForm.addEventListener("reworded", () => {
    const text = box.querySelector("textarea");
    const again = box.querySelector("button[value=easy]");
    if (text && again && !isTypedInto(text)) make(again, false);
  });
  secondForm.addEventListener("input", (event) => {
    if (event.target.tagName !== "TEXTAREA") return;
    clearTimeout(timer);
    timer = setTimeout(check, 500);
  });
  // As for the Japanese text: typed before this file was there, or put back after a reload.
  window.addEventListener("pageshow", () => {
    const text = box.querySelector("textarea");
    if (text && text.value !== text.defaultValue) check();
  });
}
