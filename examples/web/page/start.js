// Says why the page does not start where page.js cannot: browsers load no modules from file://, and a file may be missing.
"use strict";

function explain() {
  const status = document.getElementById("status");
  status.textContent =
    location.protocol === "file:"
      ? "This page needs a web server: run `python3 -m http.server` in its folder, then open http://localhost:8000."
      : "Part of this page did not load: page.js or the scripts in alexnet-web. Reload it, or look whether the server has them.";
  status.classList.add("trouble");
}

// Not in the page itself: without JavaScript, nothing starts.
addEventListener("DOMContentLoaded", () => (document.getElementById("status").textContent ||= "Starting…"));
// Errors of elements do not bubble.
addEventListener(
  "error",
  ({ target }) => {
    if (!(target instanceof HTMLScriptElement)) return;
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", explain);
    else explain();
  },
  true,
);
