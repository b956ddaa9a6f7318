// Warns before the session ends for want of use, and renews it when somebody is there. When nobody is, the page is left for the login, which
// leads back; what was typed is kept (keep.js). Tabs tell each other that they were used, because the session is one for all of them.
import { keepAll } from "./keep.js";

/** So long before the end, milliseconds. */
const BEFORE = 120_000;
/** How often it is looked; a sleeping machine wakes up to the right answer, because it is the clock that is asked. */
const LOOK = 5_000;

/**
 * What is due now.
 * @param {number} now
 * @param {number} last when the session was used last
 * @param {number} idle after so long without use it ends
 * @returns {"nothing" | "warn" | "leave"}
 */
export function due(now, last, idle) {
  const left = last + idle - now;
  if (left <= 0) return "leave";
  return left <= Math.min(BEFORE, idle / 2) ? "warn" : "nothing";
}

/** @type {() => void} */
let tell = () => {};

/** Another module has asked the box for something just now, so the session was used. */
export function used() {
  tell();
}

/** Begins to watch, on pages of somebody with a session. */
export function watchIdle() {
  const idle = Number(document.body.dataset.idle) * 1000;
  const dialog = document.getElementById("idle");
  const stay = document.getElementById("idle-stay");
  if (!(idle > 0) || !(dialog instanceof HTMLDialogElement) || !stay) return;
  let last = Date.now();
  const channel = "BroadcastChannel" in window ? new BroadcastChannel("tbi-used") : null;
  const heard = () => {
    last = Date.now();
    if (dialog.open) dialog.close();
  };
  tell = () => {
    heard();
    channel?.postMessage("used");
  };
  channel?.addEventListener("message", heard);
  channel?.postMessage("used");
  const leave = () => {
    keepAll();
    location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
  };
  const renew = async () => {
    try {
      const answer = await fetch("/api/v1/access/whoami", { headers: { accept: "application/json" }, cache: "no-store" });
      if (answer.ok) tell();
      else if (answer.status === 401) leave();
    } catch {
      // The box does not answer now; the dialog stays, and the button can be pressed again.
    }
  };
  const look = () => {
    const what = due(Date.now(), last, idle);
    if (what === "leave") leave();
    else if (what === "warn" && !dialog.open) dialog.showModal();
  };
  stay.addEventListener("click", renew);
  // Escape says the same as the button: somebody is there.
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    void renew();
  });
  document.addEventListener("visibilitychange", look);
  setInterval(look, LOOK);
}
