// A button that hides the code of a notebook; the choice holds for all pages.
document.addEventListener("DOMContentLoaded", () => {
  const title = document.querySelector("article h1");
  if (!title || !document.querySelector(".input")) return;
  const button = document.createElement("button");
  button.className = "code-button";
  const show = (off) => {
    document.body.classList.toggle("code-off", off);
    button.textContent = off ? "Show code" : "Hide code";
    button.setAttribute("aria-pressed", String(off));
  };
  let stored = null;
  try { stored = localStorage.getItem("code"); } catch { /* storage is disabled */ }
  show(stored === "off");
  button.addEventListener("click", () => {
    const off = !document.body.classList.contains("code-off");
    show(off);
    try { localStorage.setItem("code", off ? "off" : "on"); } catch { /* as above */ }
  });
  title.insertAdjacentElement("afterend", button);
});
