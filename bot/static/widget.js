"use strict";
// <script src="https://…/static/widget.js" defer></script> puts the city's chat on any page: a button in a shadow
// DOM and a frame of /chat on the script's own origin. No cookie; the page around it sees nothing of the talk.
(() => {
  const origin = new URL(document.currentScript.src).origin;
  const host = document.createElement("div");
  const root = host.attachShadow({ mode: "open" });
  const style = `
    button { position: fixed; right: 16px; bottom: 16px; z-index: 2147483646; min-height: 48px; padding: 0 22px;
      font: 700 16px/1 sans-serif; color: #fff; background: #0017c1; border: 2px solid #fff; border-radius: 24px; cursor: pointer; }
    button:focus-visible { outline: 3px solid #b78f00; }
    iframe { position: fixed; right: 16px; bottom: 76px; z-index: 2147483646; width: min(400px, calc(100vw - 32px));
      height: min(640px, calc(100vh - 96px)); border: 1px solid #75757b; border-radius: 12px; background: #fff; }
  `;
  // A sheet passes a page that forbids inline styles; Safari before 16.4 cannot make one.
  if (root.adoptedStyleSheets) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style);
    root.adoptedStyleSheets = [sheet];
  } else root.append(Object.assign(document.createElement("style"), { textContent: style }));
  const button = document.createElement("button");
  button.textContent = "問い合わせ";
  button.setAttribute("aria-expanded", "false");
  let frame = null;

  const close = () => {
    frame.hidden = true;
    button.textContent = "問い合わせ";
    button.setAttribute("aria-expanded", "false");
    button.focus();
  };
  const open = () => {
    if (!frame) {
      frame = document.createElement("iframe");
      frame.src = `${origin}/chat?embed=1`;
      frame.title = "みなと市役所 問い合わせ窓口";
      root.append(frame);
    }
    frame.hidden = false;
    button.textContent = "問い合わせを閉じる";
    button.setAttribute("aria-expanded", "true");
    frame.focus();
  };
  const isOpen = () => frame !== null && !frame.hidden;
  button.addEventListener("click", () => (isOpen() ? close() : open()));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && isOpen()) close(); });
  // Keys pressed inside the frame stay there; the chat page tells of this one.
  window.addEventListener("message", (event) => {
    if (isOpen() && event.source === frame.contentWindow && event.data === "madoguchi:close") close();
  });
  button.type = "button";
  root.append(button);
  document.body.append(host);
})();
