// Says beside a form that the box is at work, and for how long, when the answer takes more than a second; and holds a form on its way from being
// sent twice. It changes nothing that is sent.

/** Time after which it is said, ms; also how often the count moves. */
const SAY = 1000;
/** A form whose answer did not come may be sent again after this, ms: longer than the door lets anything take. */
const AGAIN = 60_000;

/**
 * @param {HTMLFormElement} form
 * @param {string} words
 */
function watch(form, words) {
  const began = Date.now();
  const note = document.createElement("p");
  note.className = "hint busy";
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  // The count is for the eye: read aloud every second it would drown everything else.
  const count = document.createElement("span");
  count.setAttribute("aria-hidden", "true");
  note.append(said, " ", count);
  form.append(note);
  const timer = setInterval(() => {
    const seconds = Math.floor((Date.now() - began) / 1000);
    if (said.textContent === "") said.textContent = words;
    count.textContent = `${seconds} s`;
    if (seconds * 1000 > AGAIN) over();
  }, SAY);
  const over = () => {
    clearInterval(timer);
    note.remove();
    delete form.dataset.sent;
  };
  form.dataset.sent = "";
  // A page that comes back out of the browser's memory has no form on its way.
  window.addEventListener("pageshow", (event) => { if (event.persisted) over(); }, { once: true });
}

/** Begins to watch the forms of this page that change something. */
export function sayBusy() {
  const words = document.body.dataset.busy;
  if (words === undefined) return;
  for (const form of document.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", (event) => {
      if (event.defaultPrevented || !(form instanceof HTMLFormElement)) return;
      if (form.dataset.sent !== undefined) event.preventDefault();
      else watch(form, words);
    });
  }
}
