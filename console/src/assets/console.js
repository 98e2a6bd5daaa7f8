// Keeps pages fresh: asks for the page again and puts its live parts in the place of the old ones. Every page works without it.
"use strict";

(() => {
  const PERIOD_MS = 5000;
  const page = document.documentElement;
  const button = document.getElementById("pause");
  const freshness = document.getElementById("freshness");
  let paused = false;
  let waiting = null;
  let failures = 0;

  // A part that somebody works in is left alone: an open fold, a field with the focus, a selected text.
  const inUse = (part) => {
    const selection = window.getSelection();
    const selected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    return selected || part.querySelector("details[open]") || (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea"));
  };

  // What has the focus is found again by its link or its place.
  const focusIn = (part) => {
    const active = document.activeElement;
    if (!part.contains(active)) return null;
    const all = [...part.querySelectorAll("a, button, [tabindex]")];
    return { href: active.getAttribute("href"), place: all.indexOf(active) };
  };

  const refocus = (part, had) => {
    if (!had) return;
    const all = [...part.querySelectorAll("a, button, [tabindex]")];
    const same = all.find((element) => had.href && element.getAttribute("href") === had.href);
    (same || all[had.place])?.focus({ preventScroll: true });
  };

  const replace = (fresh) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const newer = fresh.getElementById(part.id);
      if (!newer || inUse(part) || part.innerHTML === newer.innerHTML) continue;
      const had = focusIn(part);
      const scrolled = [...part.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
      part.replaceChildren(...newer.childNodes);
      part.querySelectorAll(".scroll").forEach((box, index) => { box.scrollLeft = scrolled[index] || 0; });
      refocus(part, had);
    }
  };

  const refresh = async () => {
    waiting = null;
    try {
      const answer = await fetch(window.location.href, {
        headers: { "x-everack-live": "1" },
        credentials: "same-origin",
        redirect: "error",
        signal: AbortSignal.timeout(30000),
      });
      if (answer.status === 401) {
        window.location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Parts that came or went: the page is another one now.
      const parts = (page) => [...page.querySelectorAll("[data-live]")].map((part) => part.id).join();
      if (parts(fresh) !== parts(document)) {
        window.location.reload();
        return;
      }
      replace(fresh);
      failures = 0;
      page.removeAttribute("data-stale");
    } catch {
      failures += 1;
      if (failures > 1) page.setAttribute("data-stale", "");
    }
    plan();
  };

  const period = () => {
    const own = Number(document.querySelector("[data-period]")?.dataset.period);
    return Math.min((own || PERIOD_MS) * (1 + failures), 30000);
  };

  const plan = () => {
    if (waiting === null && !paused && !document.hidden) waiting = window.setTimeout(refresh, period());
  };

  const stop = () => {
    window.clearTimeout(waiting);
    waiting = null;
  };

  if (document.querySelector("[data-live]") && button && freshness) {
    freshness.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.setAttribute("aria-pressed", String(paused));
      button.textContent = paused ? "Resume" : "Pause";
      if (paused) stop(); else plan();
    });
    document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else plan(); });
    plan();
  }

  // Small screens: the current page is in sight among the links.
  document.querySelector('nav.rooms [aria-current="page"]')?.scrollIntoView({ block: "nearest", inline: "center" });

  // A choice takes effect at once, where the form says so.
  for (const form of document.querySelectorAll("form.filter")) {
    for (const choice of form.querySelectorAll("select")) choice.addEventListener("change", () => form.requestSubmit());
  }

  // All boxes of a list at once.
  for (const all of document.querySelectorAll("input[data-all]")) {
    all.closest("label").hidden = false;
    all.addEventListener("change", () => {
      for (const box of document.querySelectorAll(`input[name="${CSS.escape(all.dataset.all)}"]`)) box.checked = all.checked;
    });
  }

  // A file goes into the field that is sent.
  for (const file of document.querySelectorAll("input[data-into]")) {
    file.closest("label").hidden = false;
    file.addEventListener("change", async () => {
      const field = document.getElementById(file.dataset.into);
      if (file.files[0] && field) field.value = await file.files[0].text();
    });
  }
})();
