// Keeps the page of a run as it is at the agent. The server draws the page; this module asks for it again when something happened, and puts
// its parts in place. So nothing is kept here: a reload, a second browser and a restart show the same. Seconds of the trial under way come with
// the events and are drawn at once; the page is asked for when a trial is over, and now and then.
//
// One stream of events for all pages of a browser: who holds the lock listens and tells the others, because HTTP/1.1 allows six connections
// to an origin. A page that nobody sees lets go of it, and asks anew when it is seen again.
import { Charts } from "./charts.js";
import { used } from "./idle.js";

/** Least time between two askings, ms: the door counts requests. */
const LEAST = 2000;
/** Time after which the page is asked for although no trial ended, ms: what has elapsed and what remains would be old. */
const OLD = 20000;
/** Pause before a stream that was refused is asked for again, ms: a box that comes up refuses for a while. */
const AGAIN = 3000;
/** Silence after which what is shown may be old, ms; the agent gives a sign every five seconds. */
const SILENCE = 15000;

const live = document.querySelector("[data-live]");
const root = document.querySelector("[data-charts]");
const charts = root instanceof HTMLElement ? new Charts(root) : null;

/** Which details are open, and where the focus is, stay as they are. @param {Element} from @param {Element} to */
function keep(from, to) {
  const before = from.querySelectorAll("details");
  to.querySelectorAll("details").forEach((details, index) => { details.open = before[index]?.open ?? details.open; });
  const at = [...from.querySelectorAll("a, button, summary, [tabindex]")].indexOf(/** @type {Element} */ (document.activeElement));
  return () => {
    const after = to.querySelectorAll("a, button, summary, [tabindex]")[at];
    if (at >= 0 && after instanceof HTMLElement) after.focus({ preventScroll: true });
  };
}

/** Asks for the page and puts its parts in place. @returns {Promise<boolean>} whether the run goes on */
async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (answer.redirected || answer.status === 401) {
    location.reload();
    return false;
  }
  if (!answer.ok) throw new Error(`${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Before its parts are taken out of it: one of them says so.
  const goes = page.querySelector("[data-live]") !== null;
  for (const part of document.querySelectorAll("[data-part]")) {
    const name = part.getAttribute("data-part") ?? "";
    const other = page.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (!other || part.innerHTML === other.innerHTML) continue;
    const focus = keep(part, other);
    part.replaceWith(document.adoptNode(other));
    focus();
  }
  // A page that was hidden meanwhile asks anew when it is seen.
  if (!document.hidden) await charts?.renew();
  // Somebody has this page in view, and the box was asked in their name.
  used();
  return goes;
}

/** Follows a run. @param {HTMLElement} live */
function follow(live) {
  const events = live.dataset.events ?? "";
  const badge = /** @type {HTMLElement} */ (document.getElementById("stale"));
  const channel = new BroadcastChannel(events);
  let heard = Date.now();
  let asked = 0;
  let waiting = 0;
  let release = () => {};

  const now = async () => {
    waiting = 0;
    if (document.hidden) return;
    asked = Date.now();
    try {
      if (!(await renew())) {
        // It is over: the page of a run that is over has more than these parts.
        location.reload();
      }
    } catch {
      heard = Math.min(heard, Date.now() - SILENCE);
    }
  };
  const soon = () => {
    if (waiting === 0 && !document.hidden) waiting = window.setTimeout(now, Math.max(0, asked + LEAST - Date.now()));
  };
  /** @param {{ what: string, data?: string }} event */
  const hear = ({ what, data }) => {
    heard = Date.now();
    const second = what === "second" && data ? JSON.parse(data).second : undefined;
    if (second && !document.hidden) charts?.add(second);
    if (!["pulse", "second"].includes(what) || Date.now() - asked > OLD) soon();
  };
  channel.addEventListener("message", (event) => hear(event.data));

  let asking = false;
  const listen = () => {
    if (asking) return;
    asking = true;
    const held = navigator.locks.request(events, () => new Promise((done) => {
      if (document.hidden) {
        done(undefined);
        return;
      }
      const source = new EventSource(events);
      /** @param {string} what @param {string} [data] */
      const say = (what, data) => { hear({ what, data }); channel.postMessage({ what, data }); };
      release = () => { source.close(); release = () => {}; done(undefined); };
      for (const what of ["progress", "second", "pulse"]) source.addEventListener(what, (event) => say(what, event.data));
      source.addEventListener("error", () => {
        // A browser comes back by itself to a box that did not answer, but not to one that refused.
        if (source.readyState === EventSource.CLOSED) window.setTimeout(() => release(), AGAIN);
      });
      source.addEventListener("bye", () => {
        source.close();
        say("bye");
        // The run is over, or the agent ends and comes back.
        window.setTimeout(() => release(), SILENCE);
      });
    }));
    held.finally(() => {
      asking = false;
      if (!document.hidden) listen();
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      release();
    } else {
      listen();
      soon();
    }
  });
  window.addEventListener("pagehide", () => release());
  window.setInterval(() => { badge.hidden = Date.now() - heard < SILENCE; }, 1000);
  if (!document.hidden) listen();
}

charts?.renew().catch(() => {});
if (live instanceof HTMLElement) follow(live);
