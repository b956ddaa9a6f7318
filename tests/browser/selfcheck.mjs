// Whether the checks see what they are for: pages of our own with one defect each, which no box is asked for, and one without any.

import { assert, main } from "./lib/harness.mjs";
import { audit, keyboard, NARROW, WIDE, zoomed } from "./lib/checks.mjs";

const POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src * data:; connect-src 'self'; form-action 'self'";
const SOUND = `<a class="skip" href="#main">Skip</a><main id="main" tabindex="-1"><h1>Sound</h1>
  <form><label>Name <input name="name"></label> <button>Keep</button></form> <a href="/other">Other</a></main>`;
const STYLE = `.skip { position: absolute; left: -100vw } .skip:focus { left: 0 } :focus-visible { outline: 3px solid #0b57a4 } body { color: #111; background: #fff }
  .faint { color: #ccc } .wide { width: 900px } .blind:focus-visible { outline: none } .cut { display: inline-block; width: 2rem; overflow: hidden; white-space: nowrap }`;
const TRAP = `addEventListener("keydown", (event) => { if (event.key === "Tab" && document.activeElement?.id === "trap") event.preventDefault() })`;

/** What is wrong, the page, the check that must complain, and a word of the complaint. */
const DEFECTS = [
  ["text that is too faint", "<p class='faint'>faint</p>", (page) => audit(page, "light"), "color-contrast"],
  ["a field without a label", "<input name='bare'>", (page) => audit(page, "light"), "label"],
  ["a page that is too wide", "<div class='wide'>wide</div>", (page) => zoomed(page, NARROW[0]), "sideways"],
  ["a control that is cut", "<button class='cut'>a long word that is cut</button>", (page) => zoomed(page, NARROW[1]), "is cut"],
  ["a focus that is not shown", "<button class='blind'>blind</button>", (page) => keyboard(page), "does not show it"],
  ["a trap for the keyboard", "<button id='trap'>trap</button><script src='/trap.js'></script>", (page) => keyboard(page), "keeps the focus"],
  ["a control that Tab does not reach", "<div tabindex='0'><button id='trap'>a</button></div><button>b</button><script src='/trap.js'></script>", (page) => keyboard(page), "does not reach"],
];

/** What the guards must complain of by themselves. */
const NOISES = [
  ["a request that leaves the box", "<img src='https://elsewhere.invalid/x.png' alt=''>", "leaves the box"],
  ["an inline script", "<script>window.x = 1</script>", "content security policy"],
  ["an inline style", "<p style='color: red'>red</p>", "content security policy"],
  ["a script that fails", "<script src='/fails.js'></script>", "a script fails"],
  ["a script that opens a dialog", "<script src='/dialog.js'></script>", "a dialog opened"],
  ["an asset that is missing", "<link rel='stylesheet' href='/assets/0/missing.css'>", "is answered with 404"],
];

const FILES = {
  "/style.css": ["text/css", STYLE],
  "/trap.js": ["text/javascript", TRAP],
  "/fails.js": ["text/javascript", "throw new Error('as it should')"],
  "/dialog.js": ["text/javascript", "alert('as it should')"],
};

await main(async (story) => {
  const { context, page } = await story.person();
  let body = "";
  await context.route((url) => url.origin === story.origin, (route) => {
    const path = new URL(route.request().url()).pathname;
    if (FILES[path]) return route.fulfill({ contentType: FILES[path][0], body: FILES[path][1] });
    if (path.startsWith("/assets/")) return route.fulfill({ status: 404, body: "" });
    const headers = { "content-type": "text/html; charset=utf-8", "content-security-policy": POLICY };
    return route.fulfill({ headers, body: `<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css"></head><body>${body}</body></html>` });
  });
  const show = async (more) => {
    await page.setViewportSize(WIDE);
    body = SOUND.replace("</main>", `${more}</main>`);
    await page.goto("/page");
  };

  await story.step("nothing is said of a sound page", async () => {
    await show("");
    await audit(page, "light");
    for (const size of NARROW) await zoomed(page, size);
    await keyboard(page);
  });
  for (const [what, more, check, word] of DEFECTS) {
    await story.step(`${what} is seen`, async () => {
      await show(more);
      const said = await check(page).then(() => "", (error) => error.message);
      assert(said.includes(word), `the check says "${said}"`);
    });
  }
  for (const [what, more, word] of NOISES) {
    await story.step(`${what} is seen`, async () => {
      await show(more);
      const end = Date.now() + 5000;
      // Violations and console lines come a moment after the page.
      while (!story.seen.some((it) => it.includes(word)) && Date.now() < end) await page.waitForTimeout(50);
      const said = story.complaints();
      assert(said.some((it) => it.includes(word)), `the guards say: ${said.join("; ")}`);
    });
  }
});
